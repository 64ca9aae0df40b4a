#include "crypto/sha256_lanes.h"

#include "crypto/hash.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace cairn::crypto {

namespace {

void one_by_one(uint8_t prefix, ByteView bytes, size_t piece, std::span<Hash> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = sha256({ByteView(&prefix, 1), bytes.subspan(i * piece, piece)});
}

#if defined(__x86_64__)

constexpr size_t kBlock = 64;

// FIPS 180-4, 4.2.2 and 5.3.3.
alignas(64) constexpr std::array<uint32_t, 64> kRound = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
constexpr std::array<uint32_t, 8> kStart = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// A message is the prefix and a piece: its first block begins with the prefix, its last holds the piece's last byte and
// the padding, and those between lie in the piece as they are, one byte before a block's border.
using Block = std::array<uint8_t, kBlock>;
void first_block(Block& block, uint8_t prefix, const uint8_t* piece) {
  block[0] = prefix;
  std::memcpy(block.data() + 1, piece, kBlock - 1);
}
void last_block(Block& block, const uint8_t* from, size_t piece) {
  block = {};
  block[0] = from[piece - 1];
  block[1] = 0x80;
  const uint64_t bits = (uint64_t{piece} + 1) * 8;
  for (size_t i = 0; i < 8; ++i) block[kBlock - 1 - i] = static_cast<uint8_t>(bits >> (8 * i));
}

// Feeds kLanes messages to a State (compress(pointers), word(lane, index)) and takes their hashes.
template <size_t kLanes, class State>
void hash_lanes(State& state, uint8_t prefix, const std::array<const uint8_t*, kLanes>& pieces, size_t piece) {
  std::array<Block, kLanes> edge;
  std::array<const uint8_t*, kLanes> at;
  for (size_t i = 0; i < kLanes; ++i) {
    first_block(edge[i], prefix, pieces[i]);
    at[i] = edge[i].data();
  }
  state.compress(at);
  for (size_t offset = kBlock - 1; offset + kBlock <= piece; offset += kBlock) {
    for (size_t i = 0; i < kLanes; ++i) at[i] = pieces[i] + offset;
    state.compress(at);
  }
  for (size_t i = 0; i < kLanes; ++i) {
    last_block(edge[i], pieces[i], piece);
    at[i] = edge[i].data();
  }
  state.compress(at);
}

void store_be(uint8_t* to, uint32_t word) {
  for (int i = 3; i >= 0; --i, word >>= 8) to[i] = static_cast<uint8_t>(word);
}

// ---- two chains through the SHA instructions ----

#define CAIRN_SHA_NI __attribute__((target("sha,sse4.1,ssse3")))

struct TwoStates {
  static constexpr size_t kLanes = 2;
  __m128i abef[kLanes], cdgh[kLanes];

  CAIRN_SHA_NI TwoStates() {
    for (size_t n = 0; n < kLanes; ++n) {
      abef[n] = _mm_set_epi32(static_cast<int>(kStart[0]), static_cast<int>(kStart[1]), static_cast<int>(kStart[4]),
                              static_cast<int>(kStart[5]));
      cdgh[n] = _mm_set_epi32(static_cast<int>(kStart[2]), static_cast<int>(kStart[3]), static_cast<int>(kStart[6]),
                              static_cast<int>(kStart[7]));
    }
  }

  CAIRN_SHA_NI void compress(const std::array<const uint8_t*, kLanes>& blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i words[kLanes][4];
    __m128i a[kLanes], c[kLanes];
    for (size_t n = 0; n < kLanes; ++n) {
      a[n] = abef[n];
      c[n] = cdgh[n];
    }
#pragma clang loop unroll(full)
    for (size_t r = 0; r < 16; ++r) {
      const __m128i round = _mm_load_si128(reinterpret_cast<const __m128i*>(&kRound[4 * r]));
#pragma clang loop unroll(full)
      for (size_t n = 0; n < kLanes; ++n) {
        __m128i* w = words[n];
        if (r < 4) {
          w[r] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(blocks[n] + 16 * r)), swap);
        } else {
          const __m128i before = _mm_alignr_epi8(w[(r + 3) % 4], w[(r + 2) % 4], 4);
          w[r % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w[r % 4], w[(r + 1) % 4]), before),
                                          w[(r + 3) % 4]);
        }
        const __m128i sum = _mm_add_epi32(w[r % 4], round);
        c[n] = _mm_sha256rnds2_epu32(c[n], a[n], sum);
        a[n] = _mm_sha256rnds2_epu32(a[n], c[n], _mm_shuffle_epi32(sum, 0x0E));
      }
    }
    for (size_t n = 0; n < kLanes; ++n) {
      abef[n] = _mm_add_epi32(abef[n], a[n]);
      cdgh[n] = _mm_add_epi32(cdgh[n], c[n]);
    }
  }

  CAIRN_SHA_NI void hash(size_t lane, Hash& out) const {
    alignas(16) std::array<uint32_t, 4> front, back;  // f e b a, h g d c
    _mm_store_si128(reinterpret_cast<__m128i*>(front.data()), abef[lane]);
    _mm_store_si128(reinterpret_cast<__m128i*>(back.data()), cdgh[lane]);
    const std::array<uint32_t, 8> order = {front[3], front[2], back[3], back[2], front[1], front[0], back[1], back[0]};
    for (size_t i = 0; i < order.size(); ++i) store_be(out.bytes.data() + 4 * i, order[i]);
  }
};

CAIRN_SHA_NI void two_at_once(uint8_t prefix, ByteView bytes, size_t piece, std::span<Hash> out) {
  for (size_t i = 0; i < out.size(); i += 2) {
    const size_t second = std::min(i + 1, out.size() - 1);  // of an odd number the last twice
    TwoStates state;
    hash_lanes<2>(state, prefix, {bytes.data() + i * piece, bytes.data() + second * piece}, piece);
    state.hash(0, out[i]);
    state.hash(1, out[second]);
  }
}

// ---- sixteen through AVX-512 ----

#define CAIRN_AVX512 __attribute__((target("avx512f,avx512bw")))

struct SixteenStates {
  static constexpr size_t kLanes = 16;
  __m512i h[8];  // word i of all lanes

  CAIRN_AVX512 SixteenStates() {
    for (size_t i = 0; i < 8; ++i) h[i] = _mm512_set1_epi32(static_cast<int>(kStart[i]));
  }

  template <int kA, int kB, int kC>
  static inline CAIRN_AVX512 __attribute__((always_inline)) __m512i sum(__m512i x) {
    return _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, kA), _mm512_ror_epi32(x, kB), _mm512_ror_epi32(x, kC), 0x96);
  }
  template <int kA, int kB, int kShift>
  static inline CAIRN_AVX512 __attribute__((always_inline)) __m512i mix(__m512i x) {
    return _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, kA), _mm512_ror_epi32(x, kB), _mm512_srli_epi32(x, kShift),
                                     0x96);
  }

  // Sixteen blocks to sixteen words of each.
  static inline CAIRN_AVX512 __attribute__((always_inline)) void load(const std::array<const uint8_t*, kLanes>& blocks,
                                                                      __m512i (&w)[16]) {
    const __m512i swap = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL));
    __m512i t[16];
#pragma clang loop unroll(full)
    for (size_t i = 0; i < 16; ++i) w[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(blocks[i]), swap);
#pragma clang loop unroll(full)
    for (size_t i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_epi32(w[i], w[i + 1]);
      t[i + 1] = _mm512_unpackhi_epi32(w[i], w[i + 1]);
    }
#pragma clang loop unroll(full)
    for (size_t i = 0; i < 16; i += 4) {  // w[i + j]: column j, 4 + j, 8 + j, 12 + j of lanes i to i + 3
      w[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
      w[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
      w[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
      w[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma clang loop unroll(full)
    for (size_t j = 0; j < 4; ++j) {
      const __m512i low = _mm512_shuffle_i32x4(w[j], w[4 + j], 0x88);        // columns j, 8 + j of lanes 0 to 7
      const __m512i low_odd = _mm512_shuffle_i32x4(w[j], w[4 + j], 0xdd);    // columns 4 + j, 12 + j
      const __m512i high = _mm512_shuffle_i32x4(w[8 + j], w[12 + j], 0x88);  // the same of lanes 8 to 15
      const __m512i high_odd = _mm512_shuffle_i32x4(w[8 + j], w[12 + j], 0xdd);
      t[j] = _mm512_shuffle_i32x4(low, high, 0x88);
      t[8 + j] = _mm512_shuffle_i32x4(low, high, 0xdd);
      t[4 + j] = _mm512_shuffle_i32x4(low_odd, high_odd, 0x88);
      t[12 + j] = _mm512_shuffle_i32x4(low_odd, high_odd, 0xdd);
    }
#pragma clang loop unroll(full)
    for (size_t i = 0; i < 16; ++i) w[i] = t[i];
  }

  CAIRN_AVX512 void compress(const std::array<const uint8_t*, kLanes>& blocks) {
    __m512i w[16];
    load(blocks, w);
    __m512i s[8];
#pragma clang loop unroll(full)
    for (size_t i = 0; i < 8; ++i) s[i] = h[i];
#pragma clang loop unroll(full)
    for (size_t r = 0; r < 64; ++r) {
      // The names of the eight words go round instead of the words: a is s[(64 - r) % 8], b the next.
      __m512i& a = s[(64 - r) % 8];
      const __m512i& b = s[(65 - r) % 8];
      const __m512i& c = s[(66 - r) % 8];
      __m512i& d = s[(67 - r) % 8];
      const __m512i& e = s[(68 - r) % 8];
      const __m512i& f = s[(69 - r) % 8];
      const __m512i& g = s[(70 - r) % 8];
      __m512i& k = s[(71 - r) % 8];  // h of the standard
      __m512i& word = w[r % 16];
      if (r >= 16) {
        word = _mm512_add_epi32(_mm512_add_epi32(word, mix<7, 18, 3>(w[(r + 1) % 16])),
                                _mm512_add_epi32(w[(r + 9) % 16], mix<17, 19, 10>(w[(r + 14) % 16])));
      }
      const __m512i choice = _mm512_ternarylogic_epi32(e, f, g, 0xca);
      const __m512i majority = _mm512_ternarylogic_epi32(a, b, c, 0xe8);
      const __m512i round = _mm512_add_epi32(word, _mm512_set1_epi32(static_cast<int>(kRound[r])));
      const __m512i first = _mm512_add_epi32(_mm512_add_epi32(k, round), _mm512_add_epi32(choice, sum<6, 11, 25>(e)));
      d = _mm512_add_epi32(d, first);
      k = _mm512_add_epi32(_mm512_add_epi32(first, majority), sum<2, 13, 22>(a));
    }
#pragma clang loop unroll(full)
    for (size_t i = 0; i < 8; ++i) h[i] = _mm512_add_epi32(h[i], s[i]);
  }

  CAIRN_AVX512 void hashes(std::span<Hash> out) const {
    for (size_t i = 0; i < 8; ++i) {
      alignas(64) std::array<uint32_t, 16> words;
      _mm512_store_si512(words.data(), h[i]);
      for (size_t lane = 0; lane < out.size(); ++lane) store_be(out[lane].bytes.data() + 4 * i, words[lane]);
    }
  }
};

CAIRN_AVX512 void sixteen_at_once(uint8_t prefix, ByteView bytes, size_t piece, std::span<Hash> out) {
  for (size_t i = 0; i < out.size(); i += 16) {
    std::array<const uint8_t*, 16> pieces;
    for (size_t lane = 0; lane < 16; ++lane) pieces[lane] = bytes.data() + std::min(i + lane, out.size() - 1) * piece;
    SixteenStates state;
    hash_lanes<16>(state, prefix, pieces, piece);
    state.hashes(out.subspan(i, std::min<size_t>(16, out.size() - i)));
  }
}

bool has_sha_instructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0 && __builtin_cpu_supports("sse4.1") != 0;
}

#endif

}  // namespace

bool supported(Lanes lanes) {
#if defined(__x86_64__)
  static const bool two = has_sha_instructions();
  static const bool sixteen = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0;
  if (lanes == Lanes::two) return two;
  if (lanes == Lanes::sixteen) return sixteen;
#endif
  return lanes == Lanes::one;
}

void sha256_pieces_by(Lanes lanes, uint8_t prefix, ByteView bytes, size_t piece, std::span<Hash> out) {
  CAIRN_ASSERT(supported(lanes) && bytes.size() >= out.size() * piece);
#if defined(__x86_64__)
  CAIRN_ASSERT(lanes == Lanes::one || (piece >= kBlock && piece % kBlock == 0));
  if (lanes == Lanes::sixteen) return sixteen_at_once(prefix, bytes, piece, out);
  if (lanes == Lanes::two) return two_at_once(prefix, bytes, piece, out);
#endif
  one_by_one(prefix, bytes, piece, out);
}

}  // namespace cairn::crypto
