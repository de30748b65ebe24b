// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoundLedger, PoolParams} from "../interfaces/IRoundLedger.sol";

/// @title What a pool's parameters must satisfy, and the sums that follow from them.
library ParamsLib {
    uint256 internal constant MAX_SLOTS = 256;
    uint256 internal constant MAX_SEATS = 256;
    uint256 internal constant MAX_FINDER_FEE = 2000; // basis points
    uint256 internal constant BPS = 10_000;

    /// @param unbondingTime of the stake manager, in seconds
    function validate(PoolParams calldata p, uint256 unbondingTime) internal pure {
        // A round's number plus one is stored in 24 bits, a width in 8.
        _check(p.rounds != 0 && p.rounds < type(uint24).max, "rounds");
        _check(p.minTrainWindow != 0 && p.minTrainWindow <= p.maxTrainWindow, "trainWindow");
        _check(p.revealWindow != 0, "revealWindow");
        _check(p.graceWindow != 0, "graceWindow");
        _check(p.verdictWindow != 0, "verdictWindow");
        _check(p.verdictRevealWindow != 0, "verdictRevealWindow");
        _check(p.voteWindow != 0, "voteWindow");
        _check(p.voteRevealWindow != 0, "voteRevealWindow");
        _check(p.maxSlots <= MAX_SLOTS, "maxSlots");
        _check(p.minSlots != 0 && p.minSlots <= p.maxSlots, "minSlots");
        _check(p.maxWidth != 0 && p.maxWidth <= p.maxSlots && p.maxWidth <= type(uint8).max, "maxWidth");
        _check(p.minSeats <= MAX_SEATS, "minSeats");
        _check(p.auditRate <= BPS, "auditRate");
        _check(p.auditors >= 1 && p.auditors <= 4, "auditors");
        _check(p.jurySize >= 1 && p.jurySize <= 16, "jurySize");
        _check(p.finderFee <= MAX_FINDER_FEE, "finderFee");
        _check(p.slashConviction <= p.stakePerSlot, "slashConviction");
        _check(p.slashMiss <= p.stakePerSlot / 10, "slashMiss");
        _check(p.slashFalseAccusation <= p.seatStake, "slashFalseAccusation");
        _check(p.orchestrator != address(0), "orchestrator");

        // INVARIANT: a stake cannot leave before the last case about its work can have ended.
        uint256 allWindows = uint256(p.maxTrainWindow) + p.revealWindow + p.graceWindow + p.verdictWindow
            + p.verdictRevealWindow + p.voteWindow + p.voteRevealWindow;
        _check(allWindows <= unbondingTime, "unbondingTime");
    }

    /// @dev The most that one round can cost, in token wei; far below 128 bits.
    function roundReserve(PoolParams storage p) internal view returns (uint256) {
        return uint256(p.pricePerSlot) * p.maxSlots + uint256(p.verdictFee) * p.verdictBudget;
    }

    /// @dev One function for all: the error's encoding is in the bytecode once.
    function _check(bool ok, string memory what) private pure {
        require(ok, IRoundLedger.BadParams(what));
    }
}
