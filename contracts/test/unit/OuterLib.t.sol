// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {OuterRule} from "../../src/interfaces/IPools.sol";
import {ChunkLib} from "../../src/libraries/ChunkLib.sol";
import {DctLib} from "../../src/libraries/DctLib.sol";
import {OuterLib} from "../../src/libraries/OuterLib.sol";
import {TreeLib} from "../../src/libraries/TreeLib.sol";
import {Base} from "../Base.sol";

/// @dev Puts bytes into calldata, where the libraries want them.
contract Libraries {
    function nextLeaf(OuterRule memory rule, bytes calldata before, int64[256] memory sums, uint256 width)
        external
        pure
        returns (bytes memory)
    {
        return OuterLib.nextLeaf(rule, before, sums, width);
    }

    function isWellFormed(OuterRule memory rule, uint256 index, bytes calldata chunk) external pure returns (bool) {
        return ChunkLib.isWellFormed(ChunkLib.shapeOf(rule, index), chunk);
    }

    function squaresOf(OuterRule memory rule, uint256 index, bytes calldata chunk) external pure returns (uint256) {
        return ChunkLib.squaresOf(ChunkLib.shapeOf(rule, index), chunk);
    }

    function addTo(int64[256] memory sums, OuterRule memory rule, uint256 leaf, bytes calldata chunk, uint256 weight)
        external
        pure
        returns (int64[256] memory)
    {
        (uint256 index, uint256 page) = ChunkLib.chunkOf(rule, leaf);
        ChunkLib.addTo(sums, ChunkLib.shapeOf(rule, index), page, chunk, weight);
        return sums;
    }

    function leafHashOf(bytes calldata data) external view returns (bytes32) {
        return TreeLib.leafHashOf(data);
    }

    function rootOf(bytes32 hash, uint256 index, bytes32[] calldata siblings) external view returns (bytes32) {
        return TreeLib.rootOf(hash, index, siblings);
    }

    function sumRootOf(bytes32 hash, uint128 sum, uint256 index, bytes calldata siblings)
        external
        view
        returns (bytes32)
    {
        return TreeLib.sumRootOf(hash, sum, index, siblings);
    }
}

/// @title The arithmetic of the outer step, chunks and trees, each against its definition written out slowly.
contract OuterLibTest is Base {
    Libraries private lib;

    function setUp() public override {
        lib = new Libraries();
    }

    function _random(uint256 seed, uint256 i) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, i)));
    }

    // ---------------------------------------------------------------------------------------------- trimmed means

    /// @dev Copies laid out one by one, and the extreme ones taken away one by one.
    function testFuzz_Trimmed(uint256 seed, uint256 trim) public pure {
        trim = bound(trim, 0, 4999);
        uint256 count = 1 + _random(seed, 0) % 6;
        (int64[256][] memory rows, uint256[] memory widths) = (new int64[256][](count), new uint256[](count));
        int256[] memory copies = new int256[](30);
        uint256 total;
        for (uint256 i; i < count; ++i) {
            rows[i][7] = int64(int256(_random(seed, 2 * i + 1) % 9)) * int64(1 << 44) - int64(1 << 46);
            widths[i] = 1 + _random(seed, 2 * i + 2) % 5;
            for (uint256 j; j < widths[i]; ++j) {
                copies[total++] = rows[i][7];
            }
        }
        (int64[256] memory sums, uint256 kept) = OuterLib.trimmed(rows, widths, count, total, trim);
        uint256 cut = total * trim / 10_000;
        assertEq(kept, total - 2 * cut);
        int256 sum;
        for (uint256 i; i < total; ++i) {
            // How many come before it: smaller ones, and equal ones to its left.
            uint256 rank;
            for (uint256 j; j < total; ++j) {
                if (copies[j] < copies[i] || (copies[j] == copies[i] && j < i)) ++rank;
            }
            if (rank >= cut && rank < total - cut) sum += copies[i];
        }
        assertTrue(sums[7] == sum && sums[8] == 0, "sums");
    }

    // ---------------------------------------------------------------------------------------------- definitions

    function _abs(int256 x) private pure returns (uint256) {
        return uint256(x < 0 ? -x : x);
    }

    /// @dev a / b, half away from zero: floor((2|a| + b) / 2b), with the sign of a.
    function _divide(int256 a, uint256 b) private pure returns (int256) {
        int256 size = int256((2 * _abs(a) + b) / (2 * b));
        return a < 0 ? -size : size;
    }

    function _clamp(int256 x, int256 end) private pure returns (int256) {
        return x > end ? end : x < -end ? -end : x;
    }

    function _saturated(int256 x) private pure returns (int256) {
        if (x > 2_147_483_647) return 2_147_483_647;
        return x < -2_147_483_648 ? int256(-2_147_483_648) : x;
    }

    function _int(bytes memory data, uint256 at, uint256 size) private pure returns (int256) {
        uint256 value;
        for (uint256 i; i < size; ++i) {
            value = value * 256 + uint8(data[at + i]);
        }
        return value >= 1 << (8 * size - 1) ? int256(value) - int256(uint256(1) << (8 * size)) : int256(value);
    }

    function _bit(bytes memory data, uint256 at) private pure returns (uint256) {
        return (uint8(data[at / 8]) >> (7 - at % 8)) & 1;
    }

    function _field(bytes memory data, uint256 at, uint256 width) private pure returns (uint256 value) {
        for (uint256 i; i < width; ++i) {
            value = 2 * value + _bit(data, at + i);
        }
    }

    // ---------------------------------------------------------------------------------------------- numbers

    function testFuzz_Divide(int128 a, uint32 b) public pure {
        uint256 divisor = 2 * (uint256(b) + 1);
        assertEq(uint256(OuterLib.divide(a, divisor)), uint256(_divide(a, divisor)));
        int256 half = int256(divisor / 2) * (a < 0 ? -1 : int256(1));
        assertEq(_abs(OuterLib.divide(half, divisor)), 1);
    }

    function testFuzz_DivideQ16(int200 a) public pure {
        assertEq(uint256(OuterLib.divideQ16(a)), uint256(_divide(a, 65_536)));
        int256 half = (int256(a) >> 20 << 16) + 32_768;
        assertEq(uint256(OuterLib.divideQ16(half)), uint256(_divide(half, 65_536)));
    }

    function testFuzz_FactorBoundsTheNormByTheMedian(uint128 norm, uint128 median) public pure {
        uint256 factor = OuterLib.factor(norm, median);
        if (norm <= median) {
            assertEq(factor, 65_536);
            return;
        }
        assertTrue(factor * norm <= uint256(median) * 65_536, "above the median");
        assertTrue((factor + 1) * norm > uint256(median) * 65_536, "floor");
    }

    function testFuzz_Descend(int32 theta, int56 step, uint32 lr) public pure {
        int256 expected = _saturated(theta - _divide(int256(step) * int256(uint256(lr)), 65_536));
        assertEq(uint256(OuterLib.descend(theta, step, int256(uint256(lr)))), uint256(expected));
    }

    function testFuzz_Nesterov(int64 momentum, int32 mean, uint32 decay) public pure {
        int256 mu = int256(uint256(decay));
        (int256 next, int256 step) = OuterLib.nesterov(momentum, mean, mu);
        int256 expected = _clamp(_divide(mu * momentum, 65_536) + mean, (1 << 46) - 1);
        assertEq(uint256(next), uint256(expected));
        assertEq(uint256(step), uint256(mean + _divide(mu * expected, 65_536)));
    }

    // ---------------------------------------------------------------------------------------------- a leaf

    function _leaf(uint256 seed, bool hasMomentum) private pure returns (bytes memory leaf) {
        leaf = new bytes(hasMomentum ? 3072 : 1024);
        for (uint256 i; i < leaf.length; ++i) {
            leaf[i] = bytes1(uint8(_random(seed, i / 32) >> (8 * (i % 32))));
        }
    }

    function testFuzz_NextLeaf(uint256 seed, bool hasMomentum, uint24 lr, uint16 decay, uint16 width) public view {
        OuterRule memory rule;
        (rule.rule, rule.lr, rule.momentum) = (hasMomentum ? 1 : 0, lr, decay);
        uint256 total = bound(width, 1, OuterLib.MAX_TOTAL_WIDTH);
        bytes memory before = _leaf(seed, hasMomentum);
        int64[256] memory sums;
        for (uint256 i; i < 256; ++i) {
            // Many zeros; at most 2^47 per slot of width, as updates give at most.
            uint256 drawn = _random(seed, 1000 + i);
            int256 sum = int256(drawn >> 8) % int256((uint256(total) << (16 + drawn % 32)) + 1);
            sums[i] = drawn & 0xc0 == 0 ? int64(0) : int64(drawn & 0x20 == 0 ? sum : -sum);
        }
        bytes memory leaf = lib.nextLeaf(rule, before, sums, total);
        assertEq(leaf.length, before.length);
        for (uint256 i; i < 256; ++i) {
            int256 step = _divide(sums[i], total * 65_536);
            if (hasMomentum) {
                int256 mu = int256(uint256(decay));
                int256 next = _clamp(_divide(mu * _int(before, 1024 + 8 * i, 8), 65_536) + step, (1 << 46) - 1);
                assertEq(uint256(_int(leaf, 1024 + 8 * i, 8)), uint256(next));
                step += _divide(mu * next, 65_536);
            }
            int256 theta = _saturated(_int(before, 4 * i, 4) - _divide(int256(uint256(lr)) * step, 65_536));
            assertEq(uint256(_int(leaf, 4 * i, 4)), uint256(theta));
        }
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_SignLeaf(uint256 seed, uint24 lr, uint16 width) public view {
        OuterRule memory rule;
        (rule.rule, rule.lr) = (2, lr);
        bytes memory before = _leaf(seed, false);
        int64[256] memory sums;
        for (uint256 i; i < 256; ++i) {
            sums[i] =
                int64(int256(_random(seed, i) % 3) - 1) * int64(uint64(1 + _random(seed, 500 + i) % (1 << i % 62)));
        }
        bytes memory leaf = lib.nextLeaf(rule, before, sums, bound(width, 1, OuterLib.MAX_TOTAL_WIDTH));
        for (uint256 i; i < 256; ++i) {
            int256 step = sums[i] == 0 ? int256(0) : int256(uint256(lr)) * (sums[i] < 0 ? -int256(1) : int256(1));
            assertEq(uint256(_int(leaf, 4 * i, 4)), uint256(_saturated(_int(before, 4 * i, 4) - step)));
        }
    }

    // ---------------------------------------------------------------------------------------------- chunks

    function _rule(uint8 codec, uint16 k, uint256 parameters) private pure returns (OuterRule memory rule) {
        (rule.codec, rule.k, rule.maxStep, rule.parameters) = (codec, k, 1 << 22, uint64(parameters));
    }

    /// @dev A sparse chunk of `values` values with `kept` random ascending indices and random levels.
    function _sparse(uint256 seed, uint256 values, uint256 kept) private pure returns (bytes memory chunk) {
        chunk = new bytes(2 + (14 * kept + 7) / 8);
        uint256 code = (1024 + seed % 1024) << 5 | (seed >> 16) % 12;
        _put(chunk, 0, 16, code);
        uint256 index;
        for (uint256 i; i < kept; ++i) {
            uint256 room = values - index - (kept - i); // indices that may be passed over
            index += _random(seed, i) % (2 * room / (kept - i) + 1) % (room + 1);
            _put(chunk, 16 + 12 * i, 12, index);
            _put(chunk, 16 + 12 * kept + 2 * i, 2, _random(seed, i) >> 200 & 3);
            ++index;
        }
    }

    function _put(bytes memory data, uint256 at, uint256 width, uint256 value) private pure {
        for (uint256 i; i < width; ++i) {
            if ((value >> (width - 1 - i)) & 1 == 1) data[(at + i) / 8] |= bytes1(uint8(0x80 >> ((at + i) % 8)));
        }
    }

    function _isSparse(bytes memory chunk, uint256 values, uint256 kept) private pure returns (bool) {
        uint256 mantissa = _field(chunk, 0, 11);
        uint256 shift = _field(chunk, 11, 5);
        if (shift != 0 && mantissa < 1024) return false;
        if (mantissa << shift > 1 << 22) return false;
        for (uint256 i; i < kept; ++i) {
            uint256 index = _field(chunk, 16 + 12 * i, 12);
            if (index >= values) return false;
            if (i != 0 && index <= _field(chunk, 4 + 12 * i, 12)) return false;
            if (mantissa == 0 && _field(chunk, 16 + 12 * kept + 2 * i, 2) != 2) return false;
        }
        for (uint256 bit = 16 + 14 * kept; bit < 8 * chunk.length; ++bit) {
            if (_bit(chunk, bit) != 0) return false;
        }
        return true;
    }

    function testFuzz_SparseChunks(uint256 seed, uint16 length, uint8 keep, uint16 weight, uint256 flip) public view {
        uint256 values = bound(length, 1, 4096);
        uint256 k = bound(keep, 1, 40);
        uint256 kept = k < values ? k : values;
        OuterRule memory rule = _rule(1, uint16(k), 2 * 4096 + values); // the third chunk, perhaps a short one
        bytes memory chunk = _sparse(seed, values, kept);
        assertTrue(lib.isWellFormed(rule, 2, chunk), "well-formed");

        uint256 squares;
        for (uint256 page; page < (values + 255) / 256; ++page) {
            squares += _checkPage(rule, chunk, kept, page, uint256(weight));
        }
        assertEq(lib.squaresOf(rule, 2, chunk), squares);

        uint256 bit = flip % (8 * chunk.length);
        chunk[bit / 8] ^= bytes1(uint8(0x80 >> (bit % 8)));
        assertEq(lib.isWellFormed(rule, 2, chunk), _isSparse(chunk, values, kept));
        assertEq(lib.isWellFormed(rule, 2, bytes.concat(chunk, hex"00")), false);
        assertEq(lib.isWellFormed(rule, 1, chunk), kept == k && _isSparse(chunk, 4096, kept)); // a full one
    }

    /// @dev One leaf of the third chunk. Returns the sum of squares of its values.
    function _checkPage(OuterRule memory rule, bytes memory chunk, uint256 kept, uint256 page, uint256 weight)
        private
        view
        returns (uint256 squares)
    {
        uint256 step = _field(chunk, 0, 11) << _field(chunk, 11, 5);
        int64[256] memory sums;
        sums[page] = 77; // what was there before stays
        int64[256] memory got = lib.addTo(sums, rule, 32 + page, chunk, weight);
        for (uint256 i; i < kept; ++i) {
            uint256 index = _field(chunk, 16 + 12 * i, 12);
            if (index / 256 != page) continue;
            int256 level = 2 * int256(_field(chunk, 16 + 12 * kept + 2 * i, 2)) - 3;
            sums[index % 256] += int64(level * int256(step * weight));
            squares += uint256(level * level) * step * step;
        }
        assertEq(keccak256(abi.encode(got)), keccak256(abi.encode(sums)));
    }

    function test_SparseChunkOfZeros() public view {
        OuterRule memory rule = _rule(1, 3, 300);
        bytes memory chunk = new bytes(2 + 6);
        for (uint256 i; i < 3; ++i) {
            _put(chunk, 16 + 12 * i, 12, 7 * i);
            _put(chunk, 52 + 2 * i, 2, 2);
        }
        assertTrue(lib.isWellFormed(rule, 0, chunk), "zeros");
        assertEq(lib.squaresOf(rule, 0, chunk), 0);
        _put(chunk, 52, 2, 3);
        assertEq(lib.isWellFormed(rule, 0, chunk), false);
    }

    function test_CosinesAreThoseOfTheVectors() public view {
        bytes memory expected =
            VmBytes(address(vm)).parseJsonBytes(vm.readFile("tests/vectors/outer.json"), ".dct_cosines");
        assertEq(keccak256(DctLib.COSINES), keccak256(expected));
        assertEq(expected.length, 512);
    }

    function _binomial(uint256 n, uint256 k) private pure returns (uint256 count) {
        if (k > n) return 0;
        count = 1;
        for (uint256 i; i < k; ++i) {
            count = count * (n - i) / (i + 1);
        }
    }

    /// @dev cos((2x + 1) u pi / 128) of the table.
    function _basis(bytes memory cosines, uint256 u, uint256 x) private pure returns (int256) {
        uint256 angle = (2 * x + 1) * u % 256;
        return _int(cosines, 2 * angle, 2);
    }

    /// @dev A chunk of `values` values with random sets of `k` coefficients and random signs.
    function _dct(uint256 seed, uint256 values, uint256 k) private pure returns (bytes memory chunk) {
        uint256 width = DctLib.rankBits(_binomial(64, k));
        chunk = new bytes(2 + ((values + 63) / 64 * (width + k) + 7) / 8);
        uint256 code = (1024 + seed % 1024) << 5 | (seed >> 16) % 12;
        _put(chunk, 0, 16, code);
        for (uint256 i; 64 * i < values; ++i) {
            _put(chunk, 16 + i * (width + k), width, _random(seed, i) % _binomial(64, k));
            _put(chunk, 16 + i * (width + k) + width, k, _random(seed, i) >> 200);
        }
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_DctChunks(uint256 seed, uint16 length, uint8 keep, uint16 weight, uint256 flip) public view {
        uint256 values = bound(length, 1, 300);
        uint256 k = bound(keep, 1, 5);
        OuterRule memory rule = _rule(4, uint16(k), 2 * 1024 + values); // the third chunk, a short one
        bytes memory chunk = _dct(seed, values, k);
        assertTrue(lib.isWellFormed(rule, 2, chunk), "well-formed");

        uint256 squares;
        for (uint256 page; page < (values + 255) / 256; ++page) {
            squares += _checkDctPage(rule, chunk, values, page, uint256(weight));
        }
        assertEq(lib.squaresOf(rule, 2, chunk), squares);

        uint256 bit = flip % (8 * chunk.length);
        chunk[bit / 8] ^= bytes1(uint8(0x80 >> (bit % 8)));
        assertEq(lib.isWellFormed(rule, 2, chunk), _isDct(chunk, values, k));
        assertEq(lib.isWellFormed(rule, 2, bytes.concat(chunk, hex"00")), false);
    }

    function _isDct(bytes memory chunk, uint256 values, uint256 k) private pure returns (bool) {
        uint256 mantissa = _field(chunk, 0, 11);
        uint256 shift = _field(chunk, 11, 5);
        if ((shift != 0 && mantissa < 1024) || mantissa << shift > 1 << 22) return false;
        uint256 width = DctLib.rankBits(_binomial(64, k));
        uint256 at = 16;
        for (uint256 i; 64 * i < values; ++i) {
            if (_field(chunk, at, width) >= _binomial(64, k)) return false;
            at += width + k;
        }
        for (uint256 bit = mantissa == 0 ? 16 : at; bit < 8 * chunk.length; ++bit) {
            if (_bit(chunk, bit) != 0) return false;
        }
        return true;
    }

    /// @dev One leaf of the third chunk. Returns the sum of squares of its values.
    function _checkDctPage(OuterRule memory rule, bytes memory chunk, uint256 values, uint256 page, uint256 weight)
        private
        view
        returns (uint256 squares)
    {
        int256 step = int256(_field(chunk, 0, 11) << _field(chunk, 11, 5));
        int64[256] memory sums;
        for (uint256 i; i < 4 && 256 * page + 64 * i < values; ++i) {
            int256[64] memory block_ = _inverse(chunk, rule.k, 4 * page + i);
            for (uint256 x; x < 64 && 256 * page + 64 * i + x < values; ++x) {
                int256 value = _divide(step * block_[x], 65_536);
                squares += uint256(value * value);
                sums[64 * i + x] = int64(value * int256(weight));
            }
        }
        sums[page] += 77; // what was there before stays
        int64[256] memory before;
        before[page] = 77;
        int64[256] memory got = lib.addTo(before, rule, 8 + page, chunk, weight);
        assertEq(keccak256(abi.encode(got)), keccak256(abi.encode(sums)));
    }

    function _inverse(bytes memory chunk, uint256 k, uint256 index) private pure returns (int256[64] memory sums) {
        uint256 width = DctLib.rankBits(_binomial(64, k));
        uint256 at = 16 + index * (width + k);
        uint256 rank = _field(chunk, at, width);
        bytes memory cosines = DctLib.COSINES;
        for (uint256 j = k; j > 0; --j) {
            uint256 member = 63;
            while (_binomial(member, j) > rank) --member;
            rank -= _binomial(member, j);
            int256 sign = _bit(chunk, at + width + j - 1) == 1 ? -int256(1) : int256(1);
            for (uint256 x; x < 64; ++x) {
                sums[x] += sign * _basis(cosines, member, x);
            }
        }
    }

    function test_DctRanksAreThoseOfSets() public view {
        OuterRule memory rule = _rule(4, 4, 64);
        bytes memory chunk = new bytes(5); // a step, then a rank of 20 bits and 4 signs
        _put(chunk, 0, 16, 4 << 5);
        _put(chunk, 16, 20, _binomial(64, 4) - 1);
        assertTrue(lib.isWellFormed(rule, 0, chunk), "the last set");
        chunk = new bytes(5);
        _put(chunk, 0, 16, 4 << 5);
        _put(chunk, 16, 20, _binomial(64, 4));
        assertEq(lib.isWellFormed(rule, 0, chunk), false);
    }

    function test_DctStepsStayBelowAnEighthOfInt32() public view {
        OuterRule memory rule = _rule(4, 4, 64);
        rule.maxStep = 1 << 31;
        bytes memory chunk = new bytes(5);
        _put(chunk, 0, 16, 2047 << 5 | 17);
        assertTrue(lib.isWellFormed(rule, 0, chunk), "the largest");
        chunk = new bytes(5);
        _put(chunk, 0, 16, 1024 << 5 | 18);
        assertEq(lib.isWellFormed(rule, 0, chunk), false);
    }

    function test_DctChunkOfZeros() public view {
        OuterRule memory rule = _rule(4, 4, 100);
        bytes memory chunk = new bytes(2 + 6);
        assertTrue(lib.isWellFormed(rule, 0, chunk), "zeros");
        assertEq(lib.squaresOf(rule, 0, chunk), 0);
        chunk[7] = 0x01;
        assertEq(lib.isWellFormed(rule, 0, chunk), false);
        chunk[7] = 0;
        chunk[4] = 0x10;
        assertEq(lib.isWellFormed(rule, 0, chunk), false);
    }

    function _assertSums(OuterRule memory rule, bytes memory chunk, uint256 weight, int64[256] memory sums)
        private
        view
    {
        int64[256] memory none;
        int64[256] memory got = lib.addTo(none, rule, rule.parameters > 256 ? 1 : 0, chunk, weight);
        assertEq(keccak256(abi.encode(got)), keccak256(abi.encode(sums)));
    }

    function testFuzz_Int8Chunks(uint256 seed, uint8 length, uint16 code, uint16 weight) public view {
        OuterRule memory rule = _rule(2, 0, uint256(length) + 1);
        bytes memory chunk = abi.encodePacked(code, new bytes(uint256(length) + 1));
        uint256 step = uint256(code >> 5) << (code & 31);
        bool fits = (code & 31 == 0 || code >> 5 >= 1024) && step <= 1 << 22;
        bool allowed = true;
        int64[256] memory sums;
        uint256 squares;
        for (uint256 i; i <= length; ++i) {
            chunk[2 + i] = bytes1(uint8(_random(seed, i)));
            if (seed % 2 == 0 && chunk[2 + i] == 0x80) chunk[2 + i] = 0x01; // else few would be well-formed
            int256 value = _int(chunk, 2 + i, 1);
            allowed = allowed && value != -128 && (step != 0 || value == 0);
            if (!fits) continue;
            sums[i] = int64(value * int256(step * weight));
            squares += step * step * uint256(value * value);
        }
        assertEq(lib.isWellFormed(rule, 0, chunk), fits && allowed);
        if (!fits) return;
        _assertSums(rule, chunk, weight, sums);
        assertEq(lib.squaresOf(rule, 0, chunk), squares);
    }

    function testFuzz_FixedChunks(uint256 seed, uint8 length, uint16 weight) public view {
        OuterRule memory rule = _rule(3, 0, 256 + uint256(length) + 1);
        bytes memory chunk = new bytes(4 * (uint256(length) + 1));
        int64[256] memory sums;
        uint256 squares;
        for (uint256 i; i <= length; ++i) {
            _put(chunk, 32 * i, 32, uint32(_random(seed, i)));
            int256 value = _int(chunk, 4 * i, 4);
            sums[i] = int64(value * int256(uint256(weight)));
            squares += uint256(value * value);
        }
        assertTrue(lib.isWellFormed(rule, 1, chunk), "all bytes are values");
        _assertSums(rule, chunk, weight, sums);
        assertEq(lib.squaresOf(rule, 1, chunk), squares);
        assertEq(lib.isWellFormed(rule, 1, bytes.concat(chunk, hex"00000000")), false);
    }

    // ---------------------------------------------------------------------------------------------- trees

    function testFuzz_Depth(uint64 leaves) public pure {
        uint256 n = uint256(leaves) + 1;
        uint256 depth = TreeLib.depthOf(n);
        assertTrue(uint256(1) << depth >= n && (depth == 0 || uint256(1) << (depth - 1) < n), "depth");
    }

    function testFuzz_Roots(uint256 seed, uint8 depth, uint256 index) public view {
        depth = depth % 13;
        index = index % (1 << depth);
        bytes32 hash = lib.leafHashOf(abi.encode(seed));
        assertEq(hash, sha256(abi.encodePacked(uint8(0), seed)));
        assertEq(hash, TreeLib.leafHash(abi.encode(seed)));
        bytes32[] memory siblings = new bytes32[](depth);
        bytes memory sums;
        bytes32 plain = hash;
        bytes32 summed = hash;
        uint128 sum = uint128(seed >> 140);
        uint128 total = sum;
        for (uint256 i; i < depth; ++i) {
            siblings[i] = bytes32(_random(seed, i));
            uint128 beside = uint128(_random(seed, i) >> 140);
            sums = abi.encodePacked(sums, siblings[i], beside);
            bool left = (index >> i) % 2 == 0;
            plain = left
                ? sha256(abi.encodePacked(uint8(1), plain, siblings[i]))
                : sha256(abi.encodePacked(uint8(1), siblings[i], plain));
            summed = left
                ? sha256(abi.encodePacked(uint8(1), summed, total, siblings[i], beside))
                : sha256(abi.encodePacked(uint8(1), siblings[i], beside, summed, total));
            total += beside;
        }
        assertEq(lib.rootOf(hash, index, siblings), plain);
        assertEq(lib.sumRootOf(hash, sum, index, sums), sha256(abi.encodePacked(uint8(2), summed, total)));
        assertEq(TreeLib.sumRoot(summed, total), sha256(abi.encodePacked(uint8(2), summed, total)));
    }

    /// @dev The proofs that the Python codec froze in the shared vectors.
    function test_RootsOfTheSharedVectors() public view {
        string memory json = vm.readFile("tests/vectors/hashes.json");
        bytes32[] memory siblings = new bytes32[](4);
        for (uint256 i; i < 4; ++i) {
            string memory key = string.concat(".off_chain.merkle_proof[", vm.toString(i), "]");
            siblings[i] = vm.parseJsonBytes32(json, key);
        }
        VmBytes parse = VmBytes(address(vm));
        bytes memory leaf = parse.parseJsonBytes(json, ".off_chain.leaves[8]");
        bytes32 root = vm.parseJsonBytes32(json, ".off_chain.merkle_root[9]");
        assertEq(lib.rootOf(lib.leafHashOf(leaf), 8, siblings), root);

        bytes memory path;
        for (uint256 i; i < 4; ++i) {
            string memory key = string.concat(".off_chain.merkle_sum_proof[", vm.toString(i), "]");
            bytes32 hash = vm.parseJsonBytes32(json, string.concat(key, "[0]"));
            path = abi.encodePacked(path, hash, uint128(vm.parseJsonUint(json, string.concat(key, "[1]"))));
        }
        leaf = parse.parseJsonBytes(json, ".off_chain.leaves[3]");
        uint128 sum = uint128(vm.parseJsonUint(json, ".off_chain.sums[3]"));
        root = vm.parseJsonBytes32(json, ".off_chain.merkle_sum_root[9]");
        assertEq(lib.sumRootOf(lib.leafHashOf(leaf), sum, 3, path), root);
    }
}

/// @dev A cheat code that only these tests need.
interface VmBytes {
    function parseJsonBytes(string calldata json, string calldata key) external pure returns (bytes memory);
}
