#include "backup/record.h"

#include <catch2/catch.hpp>

using namespace cairn;
using namespace cairn::backup;

TEST_CASE("a snapshot's record comes back as it was, with names that are not UTF-8") {
  Record record;
  record.id.bytes.fill(7);
  record.time = 1234567890123456789;
  record.parent.bytes.fill(1);
  record.original.bytes.fill(2);
  record.host = "host\xff";
  record.user = "root";
  record.uid = 1000;
  record.gid = 1001;
  record.paths = {"/home/\xfe\xff", "/etc"};
  record.tags = {"a", "b c"};
  record.excludes = {"*.o"};
  record.set = "home";
  record.program_version = "cairn 0.1.0";
  record.partial = true;
  record.summary = {.files_new = 1,
                    .files_changed = 2,
                    .files_unmodified = 3,
                    .dirs_new = 4,
                    .dirs_changed = 5,
                    .dirs_unmodified = 6,
                    .data_blobs = 7,
                    .tree_blobs = 8,
                    .data_added = 9,
                    .data_added_packed = 10,
                    .total_files_processed = 11,
                    .total_bytes_processed = 12,
                    .backup_start = 13,
                    .backup_end = 14};
  auto back = decode_record(record.id.hex(), encode_record(record));
  REQUIRE(back);
  CHECK(*back == record);
  CHECK(*decode_record(Record{}.id.hex(), encode_record(Record{})) == Record{});
}

TEST_CASE("details that are no record are refused") {
  const std::string id(64, 'a');
  CHECK(decode_record(id, as_bytes("\xff\xff\xff")).error().code == Code::corrupt);
  CHECK(decode_record(id, {}).error().code == Code::unsupported);  // no version: not one of ours
  CHECK(decode_record("monday", encode_record({})).error().code == Code::corrupt);
}

TEST_CASE("what retention counts by is not what a wrong clock says") {
  constexpr WallTime kHour = 3600LL * 1'000'000'000;
  const WallTime saved = 1'800'000'000LL * 1'000'000'000;  // as the keepers saw it
  Record record;
  record.from_clock = true;
  record.summary.backup_end = 3 * kHour;  // it took three hours
  const auto counts = [&](WallTime claimed, bool strictly = false) {
    record.time = claimed;
    return retention_time(record, saved, strictly);
  };
  CHECK(counts(saved - 3 * kHour) == saved - 3 * kHour);
  CHECK(counts(saved + 24 * 365 * kHour) == saved);  // a year ahead
  CHECK(counts(saved - 24 * 365 * kHour) == saved);  // a year behind
  record.from_clock = false;                         // `--time`
  CHECK(counts(saved - 24 * 365 * kHour) == saved - 24 * 365 * kHour);
  CHECK(counts(saved - 24 * 365 * kHour, true) == saved);
  CHECK(counts(saved + 24 * 365 * kHour) == saved);
  record.summary.backup_end = 1000 * 24 * kHour;  // nor a run that claims to have taken years
  CHECK(counts(saved - 24 * 365 * kHour, true) == saved);
  CHECK(retention_time(record, 0, true) == record.time);  // nobody saw it
}
