// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {Base} from "../Base.sol";

/// @title The hashes against the vectors that the Python codec wrote.
contract HashesTest is Base {
    string private json;

    function setUp() public override {
        json = vm.readFile("tests/vectors/hashes.json");
    }

    function _at(string memory list, uint256 i) private view returns (string memory key, bool exists) {
        key = string.concat(".", list, "[", vm.toString(i), "]");
        exists = vm.keyExistsJson(json, key);
    }

    function _uint(string memory key, string memory field) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(key, ".", field));
    }

    function _word(string memory key, string memory field) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(key, ".", field));
    }

    function _address(string memory key, string memory field) private view returns (address) {
        return vm.parseJsonAddress(json, string.concat(key, ".", field));
    }

    function test_Commitments() public {
        uint256 i;
        for (;; ++i) {
            (string memory key, bool exists) = _at("commitments", i);
            if (!exists) break;
            vm.chainId(_uint(key, "chainId"));
            Reveal memory r = Reveal({
                salt: _word(key, "salt"),
                startRoot: _word(key, "start_root"),
                updateRoot: _word(key, "update_root"),
                traceRoot: _word(key, "trace_root"),
                stateIn: _word(key, "state_in"),
                stateOut: _word(key, "state_out"),
                norm: uint128(_uint(key, "norm")),
                width: uint16(_uint(key, "width"))
            });
            bytes32 hash = Hashes.commitment(
                _address(key, "ledger"), _uint(key, "poolId"), _uint(key, "round"), _address(key, "node"), r
            );
            assertEq(hash, _word(key, "hash"));
        }
        assertTrue(i != 0, "vectors");
    }

    function test_Accumulators() public view {
        uint256 i;
        for (;; ++i) {
            (string memory key, bool exists) = _at("accumulators", i);
            if (!exists) break;
            bytes32 hash = Hashes.accumulate(
                _word(key, "accumulator"),
                _address(key, "node"),
                _word(key, "startRoot"),
                _word(key, "updateRoot"),
                uint128(_uint(key, "norm")),
                uint16(_uint(key, "width"))
            );
            assertEq(hash, _word(key, "hash"));
        }
        assertTrue(i != 0, "vectors");
    }

    function test_Verdicts() public {
        uint256 i;
        for (;; ++i) {
            (string memory key, bool exists) = _at("verdicts", i);
            if (!exists) break;
            vm.chainId(_uint(key, "chainId"));
            uint256 n;
            while (vm.keyExistsJson(json, string.concat(key, ".nodes[", vm.toString(n), "]"))) ++n;
            ICourt.Verdict[] memory list = new ICourt.Verdict[](n);
            for (uint256 j; j < n; ++j) {
                string memory at = string.concat("[", vm.toString(j), "]");
                list[j] = ICourt.Verdict(
                    _address(key, string.concat("nodes", at)),
                    ICourt.Outcome(_uint(key, string.concat("outcomes", at))),
                    _word(key, string.concat("digests", at))
                );
            }
            bytes32 hash = Hashes.verdicts(
                _address(key, "court"),
                _uint(key, "poolId"),
                _uint(key, "round"),
                _address(key, "validator"),
                list,
                _word(key, "salt")
            );
            assertEq(hash, _word(key, "hash"));
        }
        assertTrue(i != 0, "vectors");
    }

    function test_Votes() public {
        uint256 i;
        for (;; ++i) {
            (string memory key, bool exists) = _at("votes", i);
            if (!exists) break;
            vm.chainId(_uint(key, "chainId"));
            bytes32 hash = Hashes.vote(
                _address(key, "court"),
                _uint(key, "caseId"),
                _address(key, "juror"),
                ICourt.Outcome(_uint(key, "outcome")),
                _word(key, "digest"),
                _word(key, "salt")
            );
            assertEq(hash, _word(key, "hash"));
        }
        assertTrue(i != 0, "vectors");
    }

    function test_Plants() public {
        uint256 i;
        for (;; ++i) {
            (string memory key, bool exists) = _at("plants", i);
            if (!exists) break;
            vm.chainId(_uint(key, "chainId"));
            bytes32 hash = Hashes.plant({
                pools: _address(key, "pools"),
                poolId: _uint(key, "poolId"),
                round: _uint(key, "round"),
                node: _address(key, "node"),
                salt: _word(key, "salt")
            });
            assertEq(hash, _word(key, "hash"));
        }
        assertTrue(i != 0, "vectors");
    }

    function test_Draws() public view {
        uint256 i;
        for (;; ++i) {
            (string memory key, bool exists) = _at("draws", i);
            if (!exists) break;
            bytes32 seed = _word(key, "seed");
            address node = _address(key, "node");
            uint256 k = _uint(key, "k");
            uint256 n = _uint(key, "n");
            assertEq(Hashes.auditDraw(seed, node), _uint(key, "audit"));
            assertEq(Hashes.auditorDraw(seed, node, k, n), _uint(key, "auditor"));
            assertEq(Hashes.jurorDraw(seed, _uint(key, "caseId"), k, n), _uint(key, "juror"));
        }
        assertTrue(i != 0, "vectors");
    }
}
