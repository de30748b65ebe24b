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
        require(p.rounds != 0 && p.rounds < type(uint24).max, IRoundLedger.BadParams("rounds"));
        require(p.minTrainWindow != 0 && p.minTrainWindow <= p.maxTrainWindow, IRoundLedger.BadParams("trainWindow"));
        require(p.revealWindow != 0, IRoundLedger.BadParams("revealWindow"));
        require(p.graceWindow != 0, IRoundLedger.BadParams("graceWindow"));
        require(p.verdictWindow != 0, IRoundLedger.BadParams("verdictWindow"));
        require(p.verdictRevealWindow != 0, IRoundLedger.BadParams("verdictRevealWindow"));
        require(p.voteWindow != 0, IRoundLedger.BadParams("voteWindow"));
        require(p.voteRevealWindow != 0, IRoundLedger.BadParams("voteRevealWindow"));
        require(p.maxSlots <= MAX_SLOTS, IRoundLedger.BadParams("maxSlots"));
        require(p.minSlots != 0 && p.minSlots <= p.maxSlots, IRoundLedger.BadParams("minSlots"));
        require(
            p.maxWidth != 0 && p.maxWidth <= p.maxSlots && p.maxWidth <= type(uint8).max,
            IRoundLedger.BadParams("maxWidth")
        );
        require(p.minSeats <= MAX_SEATS, IRoundLedger.BadParams("minSeats"));
        require(p.auditRate <= BPS, IRoundLedger.BadParams("auditRate"));
        require(p.auditors >= 1 && p.auditors <= 4, IRoundLedger.BadParams("auditors"));
        require(p.jurySize >= 1 && p.jurySize <= 16, IRoundLedger.BadParams("jurySize"));
        require(p.finderFee <= MAX_FINDER_FEE, IRoundLedger.BadParams("finderFee"));
        require(p.slashConviction <= p.stakePerSlot, IRoundLedger.BadParams("slashConviction"));
        require(p.slashMiss <= p.stakePerSlot / 10, IRoundLedger.BadParams("slashMiss"));
        require(p.slashFalseAccusation <= p.seatStake, IRoundLedger.BadParams("slashFalseAccusation"));
        require(p.orchestrator != address(0), IRoundLedger.BadParams("orchestrator"));

        // INVARIANT: a stake cannot leave before the last case about its work can have ended.
        uint256 allWindows = uint256(p.maxTrainWindow) + p.revealWindow + p.graceWindow + p.verdictWindow
            + p.verdictRevealWindow + p.voteWindow + p.voteRevealWindow;
        require(allWindows <= unbondingTime, IRoundLedger.BadParams("unbondingTime"));
    }

    /// @dev The most that one round can cost, in token wei; far below 128 bits.
    function roundReserve(PoolParams storage p) internal view returns (uint256) {
        return uint256(p.pricePerSlot) * p.maxSlots + uint256(p.verdictFee) * p.verdictBudget;
    }
}
