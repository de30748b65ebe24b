// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../interfaces/ICourt.sol";
import {Hashes} from "./Hashes.sol";

/// @title A case before its jury: hidden votes, then open ones, then two thirds.
library CaseLib {
    /// @dev A vote that has been opened; no commitment hashes to it.
    bytes32 internal constant OPENED = bytes32(uint256(1));

    struct Case {
        address node; // accused
        uint32 round;
        uint16 width;
        ICourt.Outcome fault;
        ICourt.CaseStatus status;
        uint8 jurors;
        uint8 committed;
        uint8 guilty;
        uint8 innocent;
        address operator; // of the accused
        uint40 commitDeadline;
        uint40 revealDeadline;
        uint8 accuserPlace;
        uint128 poolId;
        uint128 jury; // places of up to 16 seats, one byte each, the first in the lowest byte
        address accuser;
        mapping(address juror => bytes32) votes;
    }

    function juror(Case storage self, uint256 k) internal view returns (uint256 place) {
        return (self.jury >> (8 * k)) & 0xff;
    }

    /// @dev Whether the seat at this place judges the case.
    function isJuror(Case storage self, uint256 place) internal view returns (bool) {
        for (uint256 k; k < self.jurors; ++k) {
            if (juror(self, k) == place) return true;
        }
        return false;
    }

    function commitsOver(Case storage self) internal view returns (bool) {
        return self.committed == self.jurors || block.timestamp > self.commitDeadline;
    }

    function commitVote(Case storage self, address who, bytes32 commitment, uint256 revealWindow) internal {
        require(self.status == ICourt.CaseStatus.Open, ICourt.WrongPhase());
        require(self.votes[who] == 0, ICourt.AlreadyDone());
        require(!commitsOver(self), ICourt.WrongPhase());
        require(uint256(commitment) > uint256(OPENED), ICourt.CommitmentMismatch());
        self.votes[who] = commitment;
        self.committed += 1;
        if (self.committed == self.jurors) {
            self.commitDeadline = uint40(block.timestamp);
            self.revealDeadline = uint40(block.timestamp + revealWindow);
        }
    }

    function revealVote(
        Case storage self,
        uint256 caseId,
        address who,
        ICourt.Outcome outcome,
        bytes32 digest,
        bytes32 salt
    ) internal {
        require(self.status == ICourt.CaseStatus.Open, ICourt.WrongPhase());
        require(self.votes[who] != OPENED, ICourt.AlreadyDone());
        require(commitsOver(self) && block.timestamp < self.revealDeadline, ICourt.WrongPhase());
        require(outcome != ICourt.Outcome.None, ICourt.BadOutcome());
        require(
            self.votes[who] == Hashes.vote(address(this), caseId, who, outcome, digest, salt),
            ICourt.CommitmentMismatch()
        );
        self.votes[who] = OPENED;
        if (outcome == ICourt.Outcome.Accept) self.innocent += 1;
        else self.guilty += 1;
    }

    /// @dev Two thirds of the jury as drawn, so that a silent juror counts for neither side.
    function resolve(Case storage self) internal returns (ICourt.CaseStatus status) {
        require(self.status == ICourt.CaseStatus.Open, ICourt.WrongPhase());
        uint256 opened = uint256(self.guilty) + self.innocent;
        require(
            commitsOver(self) && (opened == self.committed || block.timestamp >= self.revealDeadline),
            ICourt.WrongPhase()
        );
        uint256 wanted = uint256(self.jurors) * 2;
        if (self.jurors == 0) status = ICourt.CaseStatus.Hung;
        else if (uint256(self.guilty) * 3 >= wanted) status = ICourt.CaseStatus.Convicted;
        else if (uint256(self.innocent) * 3 >= wanted) status = ICourt.CaseStatus.Acquitted;
        else status = ICourt.CaseStatus.Hung;
        self.status = status;
    }
}
