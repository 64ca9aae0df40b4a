// mount.cairn: what mount(8) and fstab call for the type "cairn": `mount.cairn VOLUME DIR [-sfnv] [-o OPTIONS]`.
//
// Hands over to `cairn mount`, which lies beside it, or in ../bin, or in the PATH.

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  std::vector<std::string> words, options;
  bool fake = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "-o" || word == "-t" || word == "-N") {
      if (++i < argc && word == "-o") options.emplace_back(argv[i]);
    } else if (word.size() > 1 && word[0] == '-') {
      fake = fake || word.find('f') != std::string::npos;  // -s -n -v: nothing to do
    } else {
      words.push_back(word);
    }
  }
  if (words.size() != 2) {
    std::fprintf(stderr, "usage: mount -t cairn VOLUME DIR [-o OPTIONS]; see cairn mount --help\n");
    return 1;
  }
  if (fake) return 0;
  std::vector<std::string> command = {"cairn", "mount", "--quiet"};
  for (const std::string& option : options) command.insert(command.end(), {"-o", option});
  command.insert(command.end(), {"--", words[0], words[1]});
  std::vector<char*> arguments;
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const auto& place : {self / "cairn", self.parent_path() / "bin" / "cairn"}) {
    if (::access(place.c_str(), X_OK) == 0) ::execv(place.c_str(), arguments.data());
  }
  ::execvp("cairn", arguments.data());
  std::perror("mount.cairn: cairn");
  return 1;
}
