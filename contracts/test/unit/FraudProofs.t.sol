// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {FraudProofs} from "../../src/FraudProofs.sol";
import {IFraudProofs} from "../../src/interfaces/IFraudProofs.sol";
import {CourtTerms, IPools, OuterRule} from "../../src/interfaces/IPools.sol";
import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {FraudVectors} from "../FraudVectors.sol";

/// @dev Answers what the proofs ask the ledger and the pools, and remembers what they do.
contract Chain {
    IRoundLedger.Round private _round;
    OuterRule private _rule;
    bytes32 public posted;
    bytes32 public lastCall;

    function set(OuterRule calldata rule, bytes32 start, bytes32 accumulator, uint256 revealed, bytes32 posted_)
        external
    {
        _rule = rule;
        _round.exists = true;
        _round.startRoot = start;
        _round.accumulator = accumulator;
        _round.revealed = uint32(revealed);
        posted = posted_;
        lastCall = 0;
    }

    function outerRule(uint256) external view returns (OuterRule memory) {
        return _rule;
    }

    function courtTerms(uint256) external pure returns (CourtTerms memory terms) {
        (terms.slashConviction, terms.finderFee) = (80, 1000);
    }

    function round(uint256, uint256) external view returns (IRoundLedger.Round memory) {
        return _round;
    }

    function resultRoot(uint256, uint256) external view returns (bytes32) {
        return posted;
    }

    function disprove(uint256 poolId, uint256 number, address[] calldata excluded, address finder, uint256 fee)
        external
        returns (uint256)
    {
        lastCall = keccak256(abi.encode(poolId, number, excluded, finder, fee));
        return 11;
    }

    function convictProven(uint256 poolId, uint256 number, address node, uint256 penalty, address finder, uint256 fee)
        external
        returns (uint256)
    {
        lastCall = keccak256(abi.encode(poolId, number, node, penalty, finder, fee));
        return 12;
    }
}

/// @title Proofs against wrong results and false norms: the vectors that Python built, and everything hostile.
contract FraudProofsTest is FraudVectors {
    Chain private chain;
    FraudProofs private fraud;

    function setUp() public override {
        chain = new Chain();
        fraud = FraudProofs(deploy("FraudProofs", abi.encode(IPools(address(chain)), IRoundLedger(address(chain)))));
    }

    function _post(Step memory s, bytes32 root) private {
        chain.set(s.rule, s.start, s.accumulator, s.revealed, root);
    }

    function _bad(string memory what) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IFraudProofs.BadProof.selector, what);
    }

    function _prove(Step memory s) private {
        vm.prank(STRANGER);
        fraud.proveOuterStep(s.leaf, s.reveals, s.excluded);
    }

    function _failsWith(Step memory s, bytes memory expected) private {
        bytes memory data = abi.encodeCall(IFraudProofs.proveOuterStep, (s.leaf, s.reveals, s.excluded));
        fails(STRANGER, address(fraud), data, expected);
    }

    function _disproof(Step memory s) private pure returns (bytes32) {
        return keccak256(abi.encode(s.leaf.poolId, s.leaf.round, s.excluded, STRANGER, uint256(1000)));
    }

    // ---------------------------------------------------------------------------------------------- vectors

    function test_EveryWrongLeafIsProved() public {
        string memory json = vectors();
        uint256 i;
        for (; hasStep(json, i); ++i) {
            Step memory s = stepAt(json, i);
            _post(s, s.posted);
            vm.expectEmit(address(fraud));
            emit IFraudProofs.OuterStepDisproved(s.leaf.poolId, s.leaf.round, s.leaf.index, STRANGER, 11);
            _prove(s);
            assertEq(chain.lastCall(), _disproof(s));
        }
        assertTrue(i > 20, "vectors");
    }

    function test_NoRightLeafIsProved() public {
        string memory json = vectors();
        for (uint256 i; hasStep(json, i); ++i) {
            Step memory s = stepAt(json, i);
            if (s.malformed) continue;
            _post(s, s.right);
            s.leaf = rightLeaf(s);
            _failsWith(s, err(IFraudProofs.NothingWrong.selector));
        }
    }

    function test_SeveralTransactions() public {
        string memory json = vectors();
        uint256 tried;
        for (uint256 i; hasStep(json, i); ++i) {
            (uint256 split, IFraudProofs.Progress memory progress, IFraudProofs.Progress memory whole) =
                progressAt(json, i);
            if (split == 0) continue;
            ++tried;
            Step memory s = stepAt(json, i);
            _post(s, s.posted);
            IFraudProofs.Progress memory none;
            vm.startPrank(STRANGER);
            fraud.continueOuterStep(s.leaf, none, _part(s, 0, split), s.excluded);
            bytes32 hash = keccak256(abi.encode(progress, STRANGER, s.leaf, s.excluded));
            assertEq(fraud.progressOf(STRANGER, s.leaf.poolId, s.leaf.round), hash);

            vm.expectEmit(address(fraud));
            emit IFraudProofs.OuterStepContinued(s.leaf.poolId, s.leaf.round, STRANGER, uint32(s.revealed));
            fraud.continueOuterStep(s.leaf, progress, _part(s, split, s.revealed), s.excluded);
            fraud.finishOuterStep(s.leaf, whole, s.excluded);
            vm.stopPrank();
            assertEq(chain.lastCall(), _disproof(s));
            assertEq(fraud.progressOf(STRANGER, s.leaf.poolId, s.leaf.round), bytes32(0));
        }
        assertTrue(tried > 3, "vectors");
    }

    /// @dev Sorting takes all updates at once.
    function test_TrimmedMeansAreProvedInOne() public {
        string memory json = vectors();
        uint256 tried;
        for (uint256 i; hasStep(json, i); ++i) {
            Step memory s = stepAt(json, i);
            if (s.rule.trim == 0) continue;
            ++tried;
            _post(s, s.posted);
            IFraudProofs.Progress memory none;
            bytes memory data = abi.encodeCall(IFraudProofs.continueOuterStep, (s.leaf, none, s.reveals, s.excluded));
            fails(STRANGER, address(fraud), data, _bad("trim"));
        }
        assertTrue(tried > 5, "vectors");
    }

    function test_Norms() public {
        string memory json = vectors();
        uint256 i;
        for (; hasNorm(json, i); ++i) {
            NormCase memory n = normAt(json, i);
            chain.set(n.rule, 0, n.accumulator, n.revealed, 0);
            if (!n.wrong) {
                _normFailsWith(n, err(IFraudProofs.NothingWrong.selector));
                continue;
            }
            vm.expectEmit(address(fraud));
            emit IFraudProofs.NormDisproved(n.norm.poolId, n.norm.round, n.node, STRANGER, 12);
            vm.prank(STRANGER);
            fraud.proveNorm(n.norm, n.reveals);
            bytes32 expected =
                keccak256(abi.encode(n.norm.poolId, n.norm.round, n.node, uint256(80), STRANGER, uint256(1000)));
            assertEq(chain.lastCall(), expected);
        }
        assertTrue(i > 20, "vectors");
    }

    function _normFailsWith(NormCase memory n, bytes memory expected) private {
        fails(STRANGER, address(fraud), abi.encodeCall(IFraudProofs.proveNorm, (n.norm, n.reveals)), expected);
    }

    function _part(Step memory s, uint256 from, uint256 to)
        private
        pure
        returns (IFraudProofs.Contribution[] memory part)
    {
        part = new IFraudProofs.Contribution[](to - from);
        for (uint256 i = from; i < to; ++i) {
            part[i - from] = s.reveals[i];
        }
    }

    // ---------------------------------------------------------------------------------------------- hostile proofs

    /// @dev A proof with five reveals, all of which count, about a leaf in the middle.
    function _some(string memory json) private returns (Step memory s) {
        s = stepAt(json, 3);
        assertEq(s.reveals.length, 5);
        _post(s, s.posted);
    }

    function test_RevealsAreTheRounds() public {
        string memory json = vectors();
        Step memory s = _some(json);
        (s.reveals[0], s.reveals[1]) = (s.reveals[1], s.reveals[0]);
        _failsWith(s, _bad("reveals"));

        s = _some(json);
        s.reveals = _part(s, 0, 4);
        s.leaf.median = stepAt(json, 3).leaf.median;
        _failsWith(s, _bad("reveals"));

        s = _some(json);
        s.reveals[2].norm += 1;
        _failsWith(s, _bad("reveals"));

        s = _some(json);
        s.reveals[2].width += 1;
        _failsWith(s, _bad("reveals"));

        s = _some(json);
        s.reveals[2].node = STRANGER;
        _failsWith(s, _bad("reveals"));

        s = _some(json);
        s.reveals[2].startRoot = GENESIS;
        (s.reveals[2].chunk, s.reveals[2].siblings) = ("", "");
        _failsWith(s, _bad("reveals"));

        s = _some(json);
        chain.set(s.rule, s.start, s.accumulator, s.revealed + 1, s.posted);
        _failsWith(s, _bad("reveals"));
    }

    function test_ChunksAreTheRevealedUpdates() public {
        string memory json = vectors();
        Step memory s = _some(json);
        s.reveals[1].chunk[7] ^= 0x01;
        _failsWith(s, _bad("update"));

        s = _some(json);
        s.reveals[1].squares += 1;
        _failsWith(s, _bad("update"));

        s = _some(json);
        s.reveals[1].siblings[40] ^= 0x01;
        _failsWith(s, _bad("update"));

        s = _some(json);
        s.reveals[1].siblings = "";
        _failsWith(s, _bad("siblings"));

        s = _some(json);
        s.reveals[1].siblings = bytes.concat(s.reveals[1].siblings, new bytes(48));
        _failsWith(s, _bad("siblings"));

        s = _some(json);
        (s.reveals[1].chunk, s.reveals[2].chunk) = (s.reveals[2].chunk, s.reveals[1].chunk);
        _failsWith(s, _bad("update"));

        s = _some(json);
        s.reveals[1].squares = type(uint128).max;
        _failsWith(s, _bad("sums"));

        s = _some(json);
        s.reveals[1].updateRoot = 0;
        _failsWith(s, _bad("update"));
    }

    function test_WidthsStayBelowWhatTheSumsHold() public {
        string memory json = vectors();
        Step memory s = _some(json);
        s.reveals[0].width = 32_767;
        _failsWith(s, _bad("width"));
    }

    function test_MedianIsChecked() public {
        string memory json = vectors();
        Step memory s = _some(json);
        s.leaf.median += 1;
        _failsWith(s, _bad("median"));

        s = _some(json);
        s.leaf.median -= 1;
        _failsWith(s, _bad("median"));

        s = _some(json);
        s.leaf.median = s.reveals[1].norm; // the largest
        _failsWith(s, _bad("median"));

        s = _some(json);
        s.leaf.median = 0; // the smallest
        _failsWith(s, _bad("median"));
    }

    function test_LeavesAreUnderTheirRoots() public {
        string memory json = vectors();
        Step memory s = _some(json);
        s.leaf.before[0] ^= 0x01;
        _failsWith(s, _bad("before"));

        s = _some(json);
        s.leaf.before = bytes.concat(s.leaf.before, hex"00");
        _failsWith(s, _bad("before"));

        s = _some(json);
        s.leaf.afterHash = ~s.leaf.afterHash;
        _failsWith(s, _bad("after"));

        s = _some(json);
        s.leaf.beforeSiblings[2] = 0;
        _failsWith(s, _bad("before"));

        s = _some(json);
        s.leaf.afterSiblings = new bytes32[](0);
        _failsWith(s, _bad("siblings"));

        s = _some(json);
        s.leaf.index += 1; // of the same chunk
        _failsWith(s, _bad("before"));

        s = _some(json);
        s.leaf.index = uint64((s.rule.parameters + 255) / 256);
        _failsWith(s, _bad("index"));
    }

    /// @dev An inner node shown as a leaf would need another length of the path.
    function test_InnerNodeIsNoLeaf() public {
        string memory json = vectors();
        Step memory s = _some(json);
        bytes32[] memory shorter = new bytes32[](s.leaf.afterSiblings.length - 1);
        for (uint256 i; i < shorter.length; ++i) {
            shorter[i] = s.leaf.afterSiblings[i + 1];
        }
        s.leaf.afterHash = sha256(bytes.concat(hex"01", s.leaf.afterHash, s.leaf.afterSiblings[0]));
        s.leaf.afterSiblings = shorter;
        _failsWith(s, _bad("siblings"));
    }

    function test_ExcludedAscendAndShowNothing() public {
        string memory json = vectors();
        Step memory s = stepNamed(json, "some excluded");
        _post(s, s.posted);
        (s.excluded[0], s.excluded[1]) = (s.excluded[1], s.excluded[0]);
        _failsWith(s, _bad("excluded"));
        s.excluded[1] = s.excluded[0];
        _failsWith(s, _bad("excluded"));

        s = stepNamed(json, "the same, nobody excluded");
        _post(s, s.posted);
        s.excluded = new address[](1);
        s.excluded[0] = s.reveals[2].node;
        _failsWith(s, _bad("chunk"));
    }

    function test_RoundWithoutResult() public {
        string memory json = vectors();
        Step memory s = _some(json);
        _post(s, 0);
        _failsWith(s, _bad("round"));
    }

    /// @dev What a malformed update decodes to is undefined, so no root is right: whoever counts it has closed wrongly.
    function test_MalformedUpdateNeedsNoLeaf() public {
        string memory json = vectors();
        Step memory s = stepNamed(json, "malformed: indices");
        assertEq(s.leaf.malformed, s.reveals[0].node);
        assertEq(s.leaf.before.length, 0);
        _post(s, s.right);
        _prove(s);
        assertEq(chain.lastCall(), _disproof(s));

        // Naming another one, who wrote well, or nobody who counts, shows nothing.
        s.leaf.malformed = STRANGER;
        _failsWith(s, _bad("chunk"));
        (s.reveals[0].chunk, s.reveals[0].siblings) = ("", "");
        _failsWith(s, err(IFraudProofs.NothingWrong.selector));
        s = stepNamed(json, "sparse, in the middle");
        _post(s, s.posted);
        s.leaf.malformed = s.reveals[0].node;
        for (uint256 i = 1; i < 5; ++i) {
            (s.reveals[i].chunk, s.reveals[i].siblings) = ("", "");
        }
        _failsWith(s, err(IFraudProofs.NothingWrong.selector));
    }

    function test_ProgressIsTheCallersAndOfOneDispute() public {
        string memory json = vectors();
        Step memory s = _some(json);
        (uint256 split, IFraudProofs.Progress memory progress,) = progressAt(json, 3);
        IFraudProofs.Progress memory none;
        IFraudProofs.Contribution[] memory rest = _part(s, split, 5);
        vm.prank(STRANGER);
        fraud.continueOuterStep(s.leaf, none, _part(s, 0, split), s.excluded);

        bytes memory data = abi.encodeCall(IFraudProofs.continueOuterStep, (s.leaf, progress, rest, s.excluded));
        fails(CREATOR, address(fraud), data, _bad("progress"));

        s.leaf.median += 1;
        data = abi.encodeCall(IFraudProofs.continueOuterStep, (s.leaf, progress, rest, s.excluded));
        fails(STRANGER, address(fraud), data, _bad("progress"));
        s.leaf.median -= 1;

        address[] memory others = new address[](1);
        data = abi.encodeCall(IFraudProofs.continueOuterStep, (s.leaf, progress, rest, others));
        fails(STRANGER, address(fraud), data, _bad("progress"));

        progress.sums[4] += 1;
        data = abi.encodeCall(IFraudProofs.continueOuterStep, (s.leaf, progress, rest, s.excluded));
        fails(STRANGER, address(fraud), data, _bad("progress"));
        progress.sums[4] -= 1;

        data = abi.encodeCall(IFraudProofs.finishOuterStep, (s.leaf, progress, s.excluded));
        fails(STRANGER, address(fraud), data, _bad("reveals"));

        // The first part once more, of another leaf: it starts anew.
        s.leaf.median += 1;
        vm.prank(STRANGER);
        fraud.continueOuterStep(s.leaf, none, _part(s, 0, split), s.excluded);
        s.leaf.median -= 1;
        data = abi.encodeCall(IFraudProofs.continueOuterStep, (s.leaf, progress, rest, s.excluded));
        fails(STRANGER, address(fraud), data, _bad("progress"));
    }

    function test_FinishedProofCannotBeSentAgain() public {
        string memory json = vectors();
        Step memory s = _some(json);
        (,, IFraudProofs.Progress memory whole) = progressAt(json, 3);
        IFraudProofs.Progress memory none;
        vm.startPrank(STRANGER);
        fraud.continueOuterStep(s.leaf, none, s.reveals, s.excluded);
        fraud.finishOuterStep(s.leaf, whole, s.excluded);
        vm.stopPrank();
        bytes memory data = abi.encodeCall(IFraudProofs.finishOuterStep, (s.leaf, whole, s.excluded));
        fails(STRANGER, address(fraud), data, _bad("progress"));
    }

    function test_HostileNormProofs() public {
        string memory json = vectors();
        NormCase memory n = normNamed(json, "a chunk's sum");
        chain.set(n.rule, 0, n.accumulator, n.revealed, 0);
        uint256 depth = n.norm.path.length;

        n.norm.accused = 0;
        _normFailsWith(n, _bad("top"));
        n.norm.accused = 3;
        _normFailsWith(n, _bad("accused"));
        n.norm.accused = 1;

        n.norm.topSum += 1;
        _normFailsWith(n, _bad("top"));
        n.norm.topSum -= 1;

        n.norm.path[1].leftSum += 1;
        _normFailsWith(n, _bad("path"));
        n.norm.path[1].leftSum -= 1;

        n.norm.goLeft[depth - 1] = !n.norm.goLeft[depth - 1];
        _normFailsWith(n, _bad("chunk"));
        n.norm.goLeft[depth - 1] = !n.norm.goLeft[depth - 1];

        n.norm.chunk[5] ^= 0x01;
        _normFailsWith(n, _bad("chunk"));
        n.norm.chunk[5] ^= 0x01;

        n.norm.goLeft = new bool[](depth - 1);
        _normFailsWith(n, _bad("path"));

        n = normNamed(json, "a chunk's sum");
        n.reveals[1].norm += 1; // chosen, not revealed
        _normFailsWith(n, _bad("reveals"));

        n = normNamed(json, "a chunk's sum");
        n.norm.path = new IFraudProofs.SumNode[](depth + 1);
        n.norm.goLeft = new bool[](depth + 1);
        _normFailsWith(n, _bad("path"));

        n = normNamed(json, "a chunk's sum");
        (n.norm.path, n.norm.goLeft) = (new IFraudProofs.SumNode[](0), new bool[](0));
        _normFailsWith(n, _bad("chunk"));
        n.norm.chunk = "";
        _normFailsWith(n, err(IFraudProofs.NothingWrong.selector));
    }
}
