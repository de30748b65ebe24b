// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {CaseLib} from "../../src/libraries/CaseLib.sol";
import {SeatLib} from "../../src/libraries/SeatLib.sol";
import {VerdictLib} from "../../src/libraries/VerdictLib.sol";
import {AuditWord, AuditWordLib} from "../../src/types/AuditWord.sol";
import {CaseWord, CaseWordLib} from "../../src/types/CaseWord.sol";
import {Vm} from "../Vm.sol";

/// @title Proofs about juries: two thirds, and who is counted.
/// @dev For halmos (`make halmos`); forge does not run these.
contract VotesSymbolic {
    using CaseLib for CaseLib.Case;
    using CaseLib for CaseWord;
    using VerdictLib for VerdictLib.Audit;

    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    CaseLib.Case private c;
    VerdictLib.Audit private audit;

    function _juries(CaseWord word) private pure returns (uint256 jurors, uint256 guilty, uint256 innocent) {
        (jurors, guilty) = (word.get(CaseWordLib.JURORS), word.get(CaseWordLib.GUILTY));
        innocent = word.get(CaseWordLib.INNOCENT);
        uint256 committed = word.get(CaseWordLib.COMMITTED);
        vm.assume(committed <= jurors && guilty + innocent <= committed);
    }

    /// @dev Two thirds of the jury as drawn, rounded up, convict; or acquit; never both, and silence counts for nobody.
    function check_TwoThirds(CaseWord word) public view {
        (uint256 jurors, uint256 guilty, uint256 innocent) = _juries(word);
        ICourt.CaseStatus found = word.finding();
        uint256 needed = (2 * jurors + 2) / 3;
        bool convicts = jurors != 0 && guilty >= needed;
        bool acquits = jurors != 0 && innocent >= needed;
        assert(!(convicts && acquits));
        assert((found == ICourt.CaseStatus.Convicted) == convicts);
        assert((found == ICourt.CaseStatus.Acquitted) == acquits);
        assert((found == ICourt.CaseStatus.Hung) == (!convicts && !acquits));
    }

    /// @dev No outcome while a vote may still come.
    function check_NoFindingBeforeTheVotesAreIn(CaseWord word) public view {
        (, uint256 guilty, uint256 innocent) = _juries(word);
        word.finding();
        bool allCommitted = word.get(CaseWordLib.COMMITTED) == word.get(CaseWordLib.JURORS);
        bool allOpened = guilty + innocent == word.get(CaseWordLib.COMMITTED);
        assert(allCommitted || block.timestamp > word.get(CaseWordLib.COMMIT_DEADLINE));
        assert(allOpened || block.timestamp >= word.get(CaseWordLib.REVEAL_DEADLINE));
    }

    /// @dev A commitment changes what it must of the word and of the jury, and no more; a second one does not exist.
    function check_CommitVote(CaseWord word, uint8 place, bytes32 commitment) public {
        vm.assume(uint8(CaseWord.unwrap(word)) <= uint8(type(ICourt.CaseStatus).max));
        (uint256 jurors,,) = _juries(word);
        c.word = word;
        c.commitVote(place, commitment);
        CaseWord next = c.word;
        assert(word.status() == ICourt.CaseStatus.Open && next.status() == ICourt.CaseStatus.Open && commitment != 0);
        assert(next.get(CaseWordLib.COMMITTED) == word.get(CaseWordLib.COMMITTED) + 1);
        assert(next.get(CaseWordLib.COMMITTED) <= jurors && next.get(CaseWordLib.JURORS) == jurors);
        assert(next.get(CaseWordLib.GUILTY) == word.get(CaseWordLib.GUILTY));
        assert(next.get(CaseWordLib.INNOCENT) == word.get(CaseWordLib.INNOCENT));
        assert(next.get(CaseWordLib.LEVEL) == word.get(CaseWordLib.LEVEL));
        assert(next.get(CaseWordLib.ROUND) == word.get(CaseWordLib.ROUND));
        assert(next.get(CaseWordLib.WIDTH) == word.get(CaseWordLib.WIDTH));
        assert(next.fault() == word.fault());
    }

    /// @dev Fees are paid as long as the round's budget lasts, and never beyond it.
    function check_FeesStayInTheBudget(AuditWord word, uint8 wanted, uint16 budget) public {
        uint256 paid = word.get(AuditWordLib.PAID);
        vm.assume(paid <= budget);
        audit.word = word;
        uint256 fees = audit.takeFees(wanted, budget);
        uint256 left = word.has(AuditWordLib.RELEASED) ? 0 : budget - paid;
        assert(fees == (wanted < left ? wanted : left));
        assert(audit.word.get(AuditWordLib.PAID) == paid + fees && paid + fees <= budget);
        assert(audit.word.get(AuditWordLib.OPEN_CASES) == word.get(AuditWordLib.OPEN_CASES));
        assert(audit.word.get(AuditWordLib.REVEALED) == word.get(AuditWordLib.REVEALED));
    }

    /// @dev Of eight places, as many seats as bits.
    function check_SizeOfASet(uint8 set) public pure {
        uint256 n;
        for (uint256 i; i < 8; ++i) {
            n += (set >> i) & 1;
        }
        assert(SeatLib.size(set) == n);
    }
}
