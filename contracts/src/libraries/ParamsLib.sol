// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {CourtTerms, IPools, OuterRule, PoolParams} from "../interfaces/IPools.sol";
import {RoundTerms} from "../interfaces/IRoundLedger.sol";
import {MemberWordLib} from "../types/MemberWord.sol";
import {OuterLib} from "./OuterLib.sol";

/// @title What a pool's creator may choose.
library ParamsLib {
    uint256 internal constant MAX_SLOTS = 4096;
    uint256 internal constant MAX_SEATS = 256;
    uint256 internal constant MAX_FRAGMENTS = 256;
    uint256 internal constant MAX_GUARD = 64; // deviations
    /// A proof of a trimmed mean sorts the updates' values side by side, in one transaction: with 32 updates in the worst
    /// order that takes 15 of the 16.7 million gas that one may cost (EIP-7825).
    uint256 internal constant MAX_TRIMMED_SLOTS = 32;
    uint256 internal constant MAX_FINDER_FEE = 2000; // basis points
    uint256 internal constant BPS = 10_000;
    /// Three juries at most judge a case, so two appeals.
    uint256 internal constant JURIES = 3;
    /// No pool fits a shorter unbonding time: each of its windows takes a second.
    uint256 internal constant LEAST_WINDOWS = 5 + 2 * JURIES + (JURIES - 1);

    uint256 private constant Q24 = 1 << 24;

    /// @param unbondingTime of the stake manager, in seconds
    function validate(PoolParams calldata p, uint256 unbondingTime) internal pure {
        // A round's number plus one is stored in 24 bits.
        _check(p.rounds != 0 && p.rounds < type(uint24).max - 1, "rounds");
        _check(p.minTrainWindow != 0 && p.minTrainWindow <= p.maxTrainWindow, "trainWindow");
        _check(p.revealWindow != 0, "revealWindow");
        _check(p.graceWindow != 0, "graceWindow");
        _check(p.verdictWindow != 0, "verdictWindow");
        _check(p.verdictRevealWindow != 0, "verdictRevealWindow");
        _check(p.voteWindow != 0, "voteWindow");
        _check(p.voteRevealWindow != 0, "voteRevealWindow");
        _check(p.appealWindow != 0, "appealWindow");
        _check(p.maxSlots <= MAX_SLOTS, "maxSlots");
        _check(p.minSlots != 0 && p.minSlots <= p.maxSlots, "minSlots");
        _check(p.maxWidth != 0 && p.maxWidth <= p.maxSlots && p.maxWidth <= MemberWordLib.MAX_WIDTH, "maxWidth");
        _check(p.minSeats <= MAX_SEATS, "minSeats");
        _check(p.auditRate != 0 && p.auditRate <= BPS, "auditRate");
        _check(p.auditors >= 1 && p.auditors <= 4, "auditors");
        _check(p.jurySize >= 1 && p.jurySize <= 16, "jurySize");
        _check(p.finderFee <= MAX_FINDER_FEE, "finderFee");
        _check(p.slashConviction <= p.stakePerSlot, "slashConviction");
        _check(p.slashMiss <= p.stakePerSlot / 10, "slashMiss");
        _check(p.slashFalseAccusation <= p.seatStake, "slashFalseAccusation");
        _check(p.slashOverturned <= p.seatStake, "slashOverturned");
        _check(p.slashAbsence <= p.seatStake / 10, "slashAbsence");
        _check(p.orchestrator != address(0), "orchestrator");

        // INVARIANT: a stake cannot leave before the last case about its work can have ended.
        uint256 juries = JURIES * (uint256(p.voteWindow) + p.voteRevealWindow) + (JURIES - 1) * uint256(p.appealWindow);
        uint256 round = uint256(p.maxTrainWindow) + p.revealWindow + p.graceWindow;
        _check(round + p.verdictWindow + p.verdictRevealWindow + juries <= unbondingTime, "unbondingTime");
    }

    /// @dev Bounds within which the outer step's integers cannot overflow, as in `pi_train/outer.py`.
    function validate(OuterRule calldata o, uint256 maxSlots) internal pure {
        _check(o.codec >= 1 && o.codec <= 4, "codec");
        uint256 most = o.codec == 1 ? 4096 : o.codec == 4 ? 64 : 0;
        _check(o.k <= most && (o.k != 0 || most == 0), "k");
        _check(o.maxStep >= 1 && o.maxStep <= 1 << 31, "maxStep");
        _check(o.rule <= 2, "rule");
        _check(o.lr <= Q24, "lr");
        _check(o.rule == 1 ? o.momentum > 0 && o.momentum < 1 << 16 : o.momentum == 0, "momentum");
        _check(o.parameters >= 1 && o.parameters <= 1 << 40, "parameters");
        _check(o.fragments >= 1 && o.fragments <= MAX_FRAGMENTS, "fragments");
        _check(o.guard <= MAX_GUARD, "guard");
        _check(o.trim < BPS / 2 && (o.trim == 0 || maxSlots <= MAX_TRIMMED_SLOTS), "trim");
        // None of them is empty.
        _check(OuterLib.fragmentSize(o.parameters, o.fragments) * (o.fragments - 1) < o.parameters, "fragments");
    }

    function roundTerms(PoolParams calldata p) internal pure returns (RoundTerms memory) {
        return RoundTerms({
            pricePerSlot: p.pricePerSlot,
            stakePerSlot: p.stakePerSlot,
            maxSlots: p.maxSlots,
            minSlots: p.minSlots,
            minSeats: p.minSeats,
            maxWidth: p.maxWidth,
            orchestrator: p.orchestrator,
            revealWindow: p.revealWindow,
            graceWindow: p.graceWindow,
            rounds: p.rounds,
            slashMiss: p.slashMiss,
            closeBond: p.closeBond,
            minTrainWindow: p.minTrainWindow,
            maxTrainWindow: p.maxTrainWindow,
            verdictReserve: uint128(p.verdictFee) * p.verdictBudget,
            challengeWindow: p.graceWindow + p.verdictWindow
        });
    }

    function courtTerms(PoolParams storage p) internal view returns (CourtTerms memory) {
        return CourtTerms({
            verdictFee: p.verdictFee,
            seatStake: p.seatStake,
            verdictWindow: p.verdictWindow,
            verdictRevealWindow: p.verdictRevealWindow,
            slashFalseAccusation: p.slashFalseAccusation,
            slashAbsence: p.slashAbsence,
            auditRate: p.auditRate,
            probation: p.probation,
            verdictBudget: p.verdictBudget,
            auditors: p.auditors,
            jurySize: p.jurySize,
            slashConviction: p.slashConviction,
            slashOverturned: p.slashOverturned,
            voteWindow: p.voteWindow,
            voteRevealWindow: p.voteRevealWindow,
            appealBond: p.appealBond,
            appealWindow: p.appealWindow,
            finderFee: p.finderFee
        });
    }

    /// @dev One function for all: the error's encoding is in the bytecode once.
    function _check(bool ok, string memory what) private pure {
        require(ok, IPools.BadParams(what));
    }
}
