#pragma once
// Zip archives, written as a stream: what `dump --archive zip` gives. Deflated; Zip64 where it is needed.
//
// Beside names and bytes an entry has its mode, its owner (Info-ZIP's "ux") and its mtime in seconds ("UT"). What zip
// has no place for: FIFOs, sockets and devices are left out, hard links are files of their own, extended attributes are
// not there. APPNOTE 6.3.10. Blocks: call from Workers.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "volume/inode.h"

namespace cairn::client {

class ZipWriter {
 public:
  using Write = std::function<Status(const void* from, size_t size)>;
  explicit ZipWriter(Write write);
  ~ZipWriter();

  static bool has_place_for(const volume::Inode& inode);
  // `path`: relative; a folder's without '/' at its end. Of a file its bytes follow, of a symbolic link nothing.
  Status begin(const std::string& path, const volume::Inode& inode);
  Status content(const void* from, size_t size);
  Status end();
  // The directory of all that was written: without it it is no archive.
  Status finish();

 private:
  struct Entry {
    std::string name;
    uint16_t flags = 0, method = 0;
    uint32_t mode = 0, dos_time = 0, crc = 0;
    uint64_t packed = 0, size = 0, offset = 0;
    std::string extra;  // of header and directory alike
  };
  struct Deflater;

  Status put(const std::string& bytes);
  Status drain(bool last);

  Write write_;
  std::vector<Entry> entries_;
  std::unique_ptr<Deflater> deflater_;
  bool open_ = false, large_ = false;
  uint64_t at_ = 0;
};

}  // namespace cairn::client
