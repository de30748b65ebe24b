// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IFraudProofs} from "../src/interfaces/IFraudProofs.sol";
import {OuterRule} from "../src/interfaces/IPools.sol";
import {Base} from "./Base.sol";

/// @dev A cheat code that only these tests need.
interface VmBytes {
    function parseJsonBytes(string calldata json, string calldata key) external pure returns (bytes memory);
}

/// @title The proofs that `tools/make_fraud_vectors.py` built from files.
abstract contract FraudVectors is Base {
    /// A disputed leaf of a wrong checkpoint, and the leaf that is right there.
    struct Step {
        string what;
        OuterRule rule;
        bytes32 start;
        bytes32 accumulator;
        uint256 revealed;
        bytes32 posted;
        IFraudProofs.Leaf leaf;
        bytes32 right;
        bytes32 rightHash;
        bytes32[] rightSiblings;
        IFraudProofs.Contribution[] reveals;
        address[] excluded;
        bool malformed;
    }

    /// A disputed norm, and whether it is false.
    struct NormCase {
        string what;
        OuterRule rule;
        bytes32 accumulator;
        uint256 revealed;
        IFraudProofs.Norm norm;
        IFraudProofs.Contribution[] reveals;
        address node;
        bool wrong;
    }

    VmBytes private constant _bytesVm = VmBytes(address(vm));

    /// @dev Read once per test: half a megabyte is too much for storage, and again and again too much for memory.
    function vectors() internal view returns (string memory json) {
        return vm.readFile("tests/vectors/fraud.json");
    }

    function _key(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "].");
    }

    function hasStep(string memory json, uint256 i) internal view returns (bool) {
        return vm.keyExistsJson(json, string.concat(_key("steps", i), "what"));
    }

    function hasNorm(string memory json, uint256 i) internal view returns (bool) {
        return vm.keyExistsJson(json, string.concat(_key("norms", i), "what"));
    }

    function stepAt(string memory json, uint256 i) internal pure returns (Step memory s) {
        string memory key = _key("steps", i);
        s.what = vm.parseJsonString(json, string.concat(key, "what"));
        s.rule = abi.decode(_bytesVm.parseJsonBytes(json, string.concat(key, "rule")), (OuterRule));
        s.start = vm.parseJsonBytes32(json, string.concat(key, "start"));
        s.accumulator = vm.parseJsonBytes32(json, string.concat(key, "accumulator"));
        s.revealed = vm.parseJsonUint(json, string.concat(key, "revealed"));
        s.posted = vm.parseJsonBytes32(json, string.concat(key, "posted"));
        s.leaf = abi.decode(_bytesVm.parseJsonBytes(json, string.concat(key, "leaf")), (IFraudProofs.Leaf));
        s.right = vm.parseJsonBytes32(json, string.concat(key, "right"));
        s.rightHash = vm.parseJsonBytes32(json, string.concat(key, "rightHash"));
        s.rightSiblings = abi.decode(_bytesVm.parseJsonBytes(json, string.concat(key, "rightSiblings")), (bytes32[]));
        s.reveals =
            abi.decode(_bytesVm.parseJsonBytes(json, string.concat(key, "reveals")), (IFraudProofs.Contribution[]));
        s.excluded = abi.decode(_bytesVm.parseJsonBytes(json, string.concat(key, "excluded")), (address[]));
        s.malformed = abi.decode(vm.parseJson(json, string.concat(key, "malformed")), (bool));
    }

    /// @dev The progress that Python expects after the first `split` reveals and after all; zero: it expects none.
    function progressAt(string memory json, uint256 i)
        internal
        view
        returns (uint256 split, IFraudProofs.Progress memory progress, IFraudProofs.Progress memory whole)
    {
        string memory key = _key("steps", i);
        if (!vm.keyExistsJson(json, string.concat(key, "split"))) return (0, progress, whole);
        split = vm.parseJsonUint(json, string.concat(key, "split"));
        progress = abi.decode(_bytesVm.parseJsonBytes(json, string.concat(key, "progress")), (IFraudProofs.Progress));
        whole = abi.decode(_bytesVm.parseJsonBytes(json, string.concat(key, "whole")), (IFraudProofs.Progress));
    }

    function stepNamed(string memory json, string memory what) internal view returns (Step memory) {
        for (uint256 i; hasStep(json, i); ++i) {
            string memory found = vm.parseJsonString(json, string.concat(_key("steps", i), "what"));
            if (keccak256(bytes(found)) == keccak256(bytes(what))) return stepAt(json, i);
        }
        revert Failed(what);
    }

    function normAt(string memory json, uint256 i) internal pure returns (NormCase memory n) {
        string memory key = _key("norms", i);
        n.what = vm.parseJsonString(json, string.concat(key, "what"));
        n.rule = abi.decode(_bytesVm.parseJsonBytes(json, string.concat(key, "rule")), (OuterRule));
        n.accumulator = vm.parseJsonBytes32(json, string.concat(key, "accumulator"));
        n.revealed = vm.parseJsonUint(json, string.concat(key, "revealed"));
        n.norm = abi.decode(_bytesVm.parseJsonBytes(json, string.concat(key, "norm")), (IFraudProofs.Norm));
        n.reveals =
            abi.decode(_bytesVm.parseJsonBytes(json, string.concat(key, "reveals")), (IFraudProofs.Contribution[]));
        n.node = vm.parseJsonAddress(json, string.concat(key, "node"));
        n.wrong = abi.decode(vm.parseJson(json, string.concat(key, "wrong")), (bool));
    }

    function normNamed(string memory json, string memory what) internal view returns (NormCase memory) {
        for (uint256 i; hasNorm(json, i); ++i) {
            string memory found = vm.parseJsonString(json, string.concat(_key("norms", i), "what"));
            if (keccak256(bytes(found)) == keccak256(bytes(what))) return normAt(json, i);
        }
        revert Failed(what);
    }

    /// @dev The dispute about the right checkpoint instead of the posted one.
    function rightLeaf(Step memory s) internal pure returns (IFraudProofs.Leaf memory leaf) {
        leaf = s.leaf;
        (leaf.afterHash, leaf.afterSiblings) = (s.rightHash, s.rightSiblings);
    }
}
