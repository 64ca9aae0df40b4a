// decode_record: any details are refused or are a record that encodes to itself; and any pattern ends quickly on any
// path. Input: the details; as a text, the pattern up to the first NUL and the path behind it.

#include "backup/patterns.h"
#include "backup/record.h"
#include "fuzz/fuzz.h"

namespace cairn::fuzz {

void run_one(ByteView input) {
  const std::string id(64, 'a');
  if (const auto record = backup::decode_record(id, input)) {
    const auto again = backup::decode_record(id, backup::encode_record(*record));
    CAIRN_ASSERT(again && *again == *record);
  }
  const std::string_view text = as_text(input);
  const size_t end = std::min(text.find('\0'), text.size());
  const auto patterns = backup::Patterns::parse({std::string(text.substr(0, end))}, false);
  if (!patterns) return;
  const std::string path = "/" + std::string(text.substr(std::min(end + 1, text.size())));
  const bool matched = patterns->match(path);
  if (patterns->match_whole(path)) CAIRN_ASSERT(matched);
  if (matched) CAIRN_ASSERT(patterns->match(path + "/below"));
}

std::vector<Bytes> seeds() {
  backup::Record record;
  record.host = "mopped";
  record.paths = {"/home", "/etc"};
  record.tags = {"a"};
  record.parent.bytes.fill(1);
  record.summary.files_new = 77;
  std::vector<Bytes> all = {backup::encode_record(record), backup::encode_record({})};
  for (const std::string_view text :
       {std::string_view("foo/**/bar\0dir/foo/x/bar/y", 27), std::string_view("[a-c]*.o\0b.o", 12),
        std::string_view("/**/a/**/b/**/c/**/d\0a/a/a/b/b/b/c/c/c/d", 40), std::string_view("!a\0a", 4)})
    all.push_back(to_bytes(text));
  return all;
}

}  // namespace cairn::fuzz
