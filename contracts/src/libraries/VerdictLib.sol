// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../interfaces/ICourt.sol";
import {IRoundLedger} from "../interfaces/IRoundLedger.sol";

/// @title The verdicts about one round: everybody commits, then everybody reveals, then the round is final.
library VerdictLib {
    /// @dev The deadlines stay zero until something moves them forward.
    struct Round {
        uint40 commitDeadline;
        uint40 revealDeadline;
        uint16 committed;
        uint16 revealed;
        uint16 paid;
        uint16 openCases;
        bool released;
    }

    function commitDeadlineOf(Round storage self, IRoundLedger.AuditTerms memory terms)
        internal
        view
        returns (uint256)
    {
        return self.commitDeadline != 0 ? self.commitDeadline : terms.sealedAt + terms.verdictWindow;
    }

    function revealDeadlineOf(Round storage self, IRoundLedger.AuditTerms memory terms)
        internal
        view
        returns (uint256)
    {
        if (self.revealDeadline != 0) return self.revealDeadline;
        return commitDeadlineOf(self, terms) + terms.verdictRevealWindow;
    }

    function commitsOver(Round storage self, IRoundLedger.AuditTerms memory terms) internal view returns (bool) {
        return self.committed == terms.liveSeats || block.timestamp > commitDeadlineOf(self, terms);
    }

    function commit(Round storage self, IRoundLedger.AuditTerms memory terms) internal {
        require(terms.seed != 0, ICourt.SeedMissing());
        require(!isFinal(self, terms) && !commitsOver(self, terms), ICourt.WrongPhase());
        self.committed += 1;
        if (self.committed == terms.liveSeats) self.commitDeadline = uint40(block.timestamp);
    }

    /// @return last whether all who committed have now revealed, which makes the round final
    function reveal(Round storage self, IRoundLedger.AuditTerms memory terms) internal returns (bool last) {
        require(commitsOver(self, terms) && !isFinal(self, terms), ICourt.WrongPhase());
        self.revealed += 1;
        last = self.revealed == self.committed;
        if (last) self.revealDeadline = uint40(block.timestamp);
    }

    /// @dev Final at the seal when there is nothing or nobody to judge; after the commits when nobody committed.
    function isFinal(Round storage self, IRoundLedger.AuditTerms memory terms) internal view returns (bool) {
        if (terms.sealedAt == 0) return false;
        if (terms.revealed == 0 || terms.liveSeats == 0) return true;
        if (self.committed == 0) return block.timestamp > commitDeadlineOf(self, terms);
        return block.timestamp >= revealDeadlineOf(self, terms);
    }

    /// @dev How many of `wanted` fees the round's budget still pays; counts them as paid.
    function takeFees(Round storage self, uint256 wanted, uint256 budget) internal returns (uint256 fees) {
        uint256 left = budget - self.paid;
        fees = wanted < left ? wanted : left;
        self.paid += uint16(fees);
    }
}
