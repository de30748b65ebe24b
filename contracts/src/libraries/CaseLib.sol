// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../interfaces/ICourt.sol";
import {CaseWord, CaseWordLib} from "../types/CaseWord.sol";
import {Checks} from "./Checks.sol";
import {SeatLib} from "./SeatLib.sol";

/// @title A case before its juries: hidden votes, then open ones, then two thirds.
library CaseLib {
    /// The level of the largest jury.
    uint256 internal constant TOP = 2;

    /// @dev Sets of places, one bit each. The seats stay with their holders while the case is open.
    struct Jury {
        uint256 seats;
        uint256 guilty;
        uint256 innocent;
        uint256 punished;
        /// By level, so that a vote counts before the jury that it was meant for.
        mapping(uint256 place => bytes32) votes;
    }

    struct Case {
        CaseWord word;
        address node; // accused
        uint96 poolId;
        address operator; // of the accused
        address accuser;
        mapping(uint256 level => Jury) juries;
    }

    function jury(Case storage self) internal view returns (Jury storage) {
        return self.juries[self.word.get(CaseWordLib.LEVEL)];
    }

    /// @dev Puts the case before a jury of this level.
    function summon(
        Case storage self,
        uint256 level,
        uint256 seats,
        bool larger,
        uint256 voteWindow,
        uint256 revealWindow
    ) internal {
        CaseWord word = self.word.withStatus(ICourt.CaseStatus.Open).set(CaseWordLib.LEVEL, level);
        word = word.set(CaseWordLib.JURORS, SeatLib.size(seats)).set(CaseWordLib.COMMITTED, 0);
        word = word.set(CaseWordLib.GUILTY, 0).set(CaseWordLib.INNOCENT, 0);
        word = word.set(CaseWordLib.COMMIT_DEADLINE, block.timestamp + voteWindow);
        word = word.set(CaseWordLib.REVEAL_DEADLINE, block.timestamp + voteWindow + revealWindow);
        self.word = word.set(CaseWordLib.APPEAL_DEADLINE, 0).mark(CaseWordLib.LARGER, larger);
        self.juries[level].seats = seats;
    }

    function commitsOver(CaseWord word) internal view returns (bool) {
        return word.get(CaseWordLib.COMMITTED) == word.get(CaseWordLib.JURORS)
            || block.timestamp > word.get(CaseWordLib.COMMIT_DEADLINE);
    }

    function commitVote(Case storage self, uint256 place, bytes32 commitment) internal {
        CaseWord word = self.word;
        Checks.phase(word.status() == ICourt.CaseStatus.Open);
        Jury storage j = jury(self);
        Checks.once(j.votes[place] == 0);
        Checks.phase(!commitsOver(word));
        Checks.matching(commitment != 0);
        j.votes[place] = commitment;
        word = word.set(CaseWordLib.COMMITTED, word.get(CaseWordLib.COMMITTED) + 1);
        if (commitsOver(word)) {
            uint256 window = word.get(CaseWordLib.REVEAL_DEADLINE) - word.get(CaseWordLib.COMMIT_DEADLINE);
            word = word.set(CaseWordLib.COMMIT_DEADLINE, block.timestamp);
            word = word.set(CaseWordLib.REVEAL_DEADLINE, block.timestamp + window);
        }
        self.word = word;
    }

    /// @param hash of the opened vote
    function revealVote(Case storage self, uint256 place, ICourt.Outcome outcome, bytes32 hash) internal {
        CaseWord word = self.word;
        Checks.phase(word.status() == ICourt.CaseStatus.Open);
        Jury storage j = jury(self);
        Checks.once((j.guilty | j.innocent) & (1 << place) == 0);
        Checks.phase(commitsOver(word) && block.timestamp < word.get(CaseWordLib.REVEAL_DEADLINE));
        require(outcome != ICourt.Outcome.None, ICourt.BadOutcome());
        Checks.matching(j.votes[place] == hash);
        if (outcome == ICourt.Outcome.Accept) {
            j.innocent |= 1 << place;
            self.word = word.set(CaseWordLib.INNOCENT, word.get(CaseWordLib.INNOCENT) + 1);
        } else {
            j.guilty |= 1 << place;
            self.word = word.set(CaseWordLib.GUILTY, word.get(CaseWordLib.GUILTY) + 1);
        }
    }

    /// @dev What the present jury found. Two thirds of the jury as drawn, so that a silent juror counts for neither
    /// side.
    function finding(CaseWord word) internal view returns (ICourt.CaseStatus) {
        (uint256 guilty, uint256 innocent) = (word.get(CaseWordLib.GUILTY), word.get(CaseWordLib.INNOCENT));
        bool opened = guilty + innocent == word.get(CaseWordLib.COMMITTED);
        Checks.phase(
            word.status() == ICourt.CaseStatus.Open && commitsOver(word)
                && (opened || block.timestamp >= word.get(CaseWordLib.REVEAL_DEADLINE))
        );
        uint256 jurors = word.get(CaseWordLib.JURORS);
        if (jurors == 0) return ICourt.CaseStatus.Hung;
        if (guilty * 3 >= jurors * 2) return ICourt.CaseStatus.Convicted;
        if (innocent * 3 >= jurors * 2) return ICourt.CaseStatus.Acquitted;
        return ICourt.CaseStatus.Hung;
    }

    /// @dev An outcome that a larger jury may still change.
    function decide(Case storage self, bool guilty, uint256 appealDeadline) internal {
        CaseWord word = self.word.withStatus(ICourt.CaseStatus.Decided).mark(CaseWordLib.FOUND_GUILTY, guilty);
        self.word = word.set(CaseWordLib.APPEAL_DEADLINE, appealDeadline);
    }

    /// @dev Whether no jury can change anything any more.
    function isEnded(CaseWord word) internal pure returns (bool) {
        ICourt.CaseStatus status = word.status();
        return status != ICourt.CaseStatus.Open && status != ICourt.CaseStatus.Decided;
    }

    /// @dev A juror of an ended case that did not open a vote; once.
    function punishAbsence(Case storage self, uint256 level, uint256 place) internal {
        Checks.phase(isEnded(self.word));
        Jury storage j = self.juries[level];
        uint256 absent = j.seats & ~(j.guilty | j.innocent);
        require(absent & (1 << place) != 0, ICourt.NotAbsent());
        _punish(j, place);
    }

    /// @dev A juror of an ended case whose vote says the opposite of its outcome; once. Where evidence was withheld, a
    /// guilty vote may have been true when it was cast: the accused may answer by serving a later jury.
    function punishVote(Case storage self, uint256 level, uint256 place) internal {
        Checks.phase(isEnded(self.word));
        Jury storage j = self.juries[level];
        ICourt.CaseStatus status = self.word.status();
        uint256 wrong;
        if (status == ICourt.CaseStatus.Convicted) wrong = j.innocent;
        else if (status == ICourt.CaseStatus.Acquitted && self.word.fault() != ICourt.Outcome.Withheld) wrong = j.guilty;
        require(wrong & (1 << place) != 0, ICourt.NotOverturned());
        _punish(j, place);
    }

    function _punish(Jury storage j, uint256 place) private {
        uint256 punished = j.punished;
        Checks.once(punished & (1 << place) == 0);
        j.punished = punished | (1 << place);
    }
}
