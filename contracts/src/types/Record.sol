// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @dev What a node (or a validator) committed in one round, in one storage word:
///
///   216 bits: the first 27 bytes of the commitment | 24 bits: round | 8 bits: width | 8 bits: flags
///
/// The round tells a commitment from the older one whose place it took. 216 bits leave 108 against a node that
/// searches two openings of one commitment.
type Record is bytes32;

using RecordLib for Record global;

/// @title The packed record of a commitment.
library RecordLib {
    uint256 internal constant OPENED = 1;
    uint256 internal constant PUNISHED = 2;

    uint256 private constant HASH_MASK = ~uint256(type(uint40).max);

    function create(bytes32 commitment, uint256 round, uint256 width_) internal pure returns (Record) {
        return Record.wrap(bytes32((uint256(commitment) & HASH_MASK) | (round << 16) | (width_ << 8)));
    }

    /// @dev Whether this is a record of this very round. The empty word, whose width is zero, is a record of none.
    function isOf(Record self, uint256 round) internal pure returns (bool) {
        return self.width() != 0 && self.roundOf() == round;
    }

    /// @dev What a commitment looks like inside a record: its last five bytes zero.
    function truncate(bytes32 commitment) internal pure returns (bytes32) {
        return bytes32(uint256(commitment) & HASH_MASK);
    }

    function hash(Record self) internal pure returns (bytes32) {
        return truncate(Record.unwrap(self));
    }

    function roundOf(Record self) internal pure returns (uint256) {
        return (uint256(Record.unwrap(self)) >> 16) & type(uint24).max;
    }

    function width(Record self) internal pure returns (uint256) {
        return uint8(uint256(Record.unwrap(self)) >> 8);
    }

    function has(Record self, uint256 flags) internal pure returns (bool) {
        return uint256(Record.unwrap(self)) & flags != 0;
    }

    function with(Record self, uint256 flags) internal pure returns (Record) {
        return Record.wrap(bytes32(uint256(Record.unwrap(self)) | flags));
    }
}
