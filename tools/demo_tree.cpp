#include "tools/demo_tree.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

namespace cairn::tools {

namespace fs = std::filesystem;

namespace {

std::string hex(const unsigned char* bytes, size_t size) {
  std::string text;
  for (size_t i = 0; i < size; ++i) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

Result<std::string> sha256_file(const std::string& path, uint64_t& size) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(Code::io, fmt::format("cannot open '{}': {}", path, std::strerror(errno)));
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::vector<unsigned char> buffer(1 << 20);
  ssize_t got;
  while ((got = ::read(fd, buffer.data(), buffer.size())) > 0) {
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<size_t>(got));
    size += static_cast<uint64_t>(got);
  }
  ::close(fd);
  if (got < 0) return fail(Code::io, fmt::format("cannot read '{}': {}", path, std::strerror(errno)));
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(context.get(), digest, &length);
  return hex(digest, length);
}

// Bytes that do not compress, the same in every run (xorshift64*).
void write_noise(const fs::path& path, uint64_t seed, size_t size) {
  std::ofstream file(path, std::ios::binary);
  uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
  std::vector<uint64_t> block(8192);
  while (size > 0) {
    for (uint64_t& word : block) {
      state ^= state >> 12;
      state ^= state << 25;
      state ^= state >> 27;
      word = state * 0x2545f4914f6cdd1dULL;
    }
    const size_t step = std::min(size, block.size() * sizeof(uint64_t));
    file.write(reinterpret_cast<const char*>(block.data()), static_cast<std::streamsize>(step));
    size -= step;
  }
}

}  // namespace

Status write_demo_tree(const std::string& root) {
  try {
    const fs::path top(root);
    fs::create_directories(top / "photos/2026");
    fs::create_directories(top / "letters/drafts");
    fs::create_directories(top / "music");
    fs::create_directories(top / "empty folder");
    for (uint64_t i = 1; i <= 12; ++i)
      write_noise(top / fmt::format("photos/2026/img_{:04}.jpg", i), i, 1'500'000 + i * 77'777);
    write_noise(top / "music/concert.flac", 99, 16 << 20);
    for (int i = 0; i < 180; ++i) {
      std::ofstream letter(top / fmt::format("letters/letter {:03}.txt", i));
      for (int line = 0; line < 5 + i; ++line)
        letter << "Dear friend, this is line " << line << " of letter " << i << ".\n";
    }
    std::ofstream(top / "letters/drafts/nothing.txt");
    std::ofstream(top / "letters/odd\nname \xff\xfe.txt") << "a name with a newline and bytes that are not UTF-8\n";
    std::ofstream(top / ("letters/" + std::string(251, 'n') + ".txt")) << "a name of 255 bytes\n";
    fs::create_symlink("../photos/2026/img_0001.jpg", top / "letters/favourite.jpg");
    fs::create_hard_link(top / "photos/2026/img_0002.jpg", top / "photos/also_img_0002.jpg");
    std::ofstream(top / "sparse.img") << "begin";
    fs::resize_file(top / "sparse.img", 64 << 20);
    fs::permissions(top / "letters/letter 000.txt", fs::perms::owner_read);
  } catch (const fs::filesystem_error& e) {
    return fail(Code::io, e.what());
  }
  return {};
}

Result<TreeDigest> digest_tree(const std::string& root) {
  TreeDigest tree;
  std::error_code error;
  std::vector<fs::path> paths = {fs::path(root)};
  if (fs::is_directory(fs::symlink_status(root, error))) {
    for (auto it = fs::recursive_directory_iterator(root, error); !error && it != fs::recursive_directory_iterator();
         it.increment(error))
      paths.push_back(it->path());
  }
  if (error) return fail(Code::io, fmt::format("cannot walk '{}': {}", root, error.message()));
  for (const fs::path& path : paths) {
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0)
      return fail(Code::io, fmt::format("cannot stat '{}': {}", path.string(), std::strerror(errno)));
    std::string what = fmt::format("{:o} {}.{:09}", info.st_mode, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
    if (S_ISREG(info.st_mode)) {
      uint64_t size = 0;
      auto digest = sha256_file(path.string(), size);
      if (!digest) return fail(digest.error());
      what += fmt::format(" {} bytes sha256 {}", size, *digest);
      ++tree.files;
      tree.bytes += size;
    } else if (S_ISLNK(info.st_mode)) {
      what += " -> " + fs::read_symlink(path).string();
    }
    tree.entries[path.lexically_relative(root).string()] = what;
  }
  return tree;
}

}  // namespace cairn::tools
