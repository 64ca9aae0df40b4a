#pragma once
// What goes in front of signed bytes: one constant for each use, so that a signature made for one purpose is worth
// nothing for another. They are part of the formats: never change or reuse one.

#include <string_view>

namespace cairn::peer {

inline constexpr std::string_view kDomainGenesis = "cairn/v1/genesis";    // by the founder's member key
inline constexpr std::string_view kDomainDevice = "cairn/v1/device";      // DeviceCertificate, by a member key
inline constexpr std::string_view kDomainLog = "cairn/v1/log";            // LogEntry, by a device key
inline constexpr std::string_view kDomainNode = "cairn/v1/node";          // NodeRecord, by a device key
inline constexpr std::string_view kDomainDoubt = "cairn/v1/doubt";        // DoubtBody, by a device key
inline constexpr std::string_view kDomainPack = "cairn/v1/pack";          // PackHeader, by the writer's device key
inline constexpr std::string_view kDomainClaim = "cairn/v1/claim";        // HoldClaim, by the holder's device key
inline constexpr std::string_view kDomainFate = "cairn/v1/pack-fate";     // PackFate, by a device of the volume's owner
inline constexpr std::string_view kDomainRegister = "cairn/v1/register";  // RegisterValue, by the writer's device key
inline constexpr std::string_view kDomainAccepted =
    "cairn/v1/accepted";  // RegisterAccepted, by the keeper's device key

// Uses of HMAC and HKDF, not of signatures.
inline constexpr std::string_view kUseJoinProof = "cairn/v1/join";
inline constexpr std::string_view kUseMemberKey = "cairn/v1/member";
inline constexpr std::string_view kUseKeySlot = "cairn/v1/key-slot";
inline constexpr std::string_view kUseAccount = "cairn/v1/account";

}  // namespace cairn::peer
