// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {PoolState} from "../../src/libraries/PoolLib.sol";
import {WorkLib} from "../../src/libraries/WorkLib.sol";
import {MemberWord, MemberWordLib} from "../../src/types/MemberWord.sol";
import {PoolWord} from "../../src/types/PoolWord.sol";
import {Vm} from "../Vm.sol";

/// @title Proofs about settlement: every revealed slot becomes pay, forfeit or nothing, once.
/// @dev For halmos (`make halmos`); forge does not run these. Histories with work in at most two places, any flags on it;
/// no close of the pool was overruled.
contract WorkSymbolic {
    using WorkLib for PoolState;

    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    // Not a constant: the compiler would hash a constant key itself, and halmos would not know the same slot again.
    address private node = address(0x0D);
    uint256 private constant LAST = 40;

    PoolState private p;

    /// @dev A member that revealed last in round LAST - 1, with these two history bytes in its word.
    function _given(uint8 a, uint8 b, uint32 accrued, bool convicted, uint24 convictedFrom) private {
        vm.assume(accrued < 1 << 29);
        MemberWord word = MemberWord.wrap(0).withLastRevealed(LAST).withAccrued(accrued);
        word = word.withEntry(LAST - 1, a).withEntry(LAST - 5, b);
        if (convicted) word = word.asConvicted();
        p.member[node].word = word;
        p.member[node].convictedFrom = convictedFrom;
        p.word = PoolWord.wrap(LAST + 1);
    }

    function _width(uint8 entry) private pure returns (uint256) {
        return entry & 31;
    }

    function _isContested(uint8 entry) private pure returns (bool) {
        return entry & MemberWordLib.CONTESTED != 0;
    }

    function _isPaid(uint8 entry) private pure returns (bool) {
        return entry & (MemberWordLib.EXCLUDED | MemberWordLib.OTHER) == 0;
    }

    function _places(uint8 which) private pure returns (uint256) {
        return uint256(which & 1) << ((LAST - 1) % 16) | uint256(which >> 1) << ((LAST - 5) % 16);
    }

    /// @dev Which of the two rounds are final, too, may be anything.
    function check_Settle(uint8 a, uint8 b, uint32 accrued, bool convicted, uint24 from, uint8 which) public {
        _given(a, b, accrued, convicted, from);
        vm.assume(which < 4);
        (uint256 paid, uint256 forfeited, uint256 all) = p.settle(node, _places(which));

        // 1. Everything that is final and uncontested, and what had accrued.
        bool takesA = which & 1 != 0 && !_isContested(a);
        bool takesB = which & 2 != 0 && !_isContested(b);
        assert(all == accrued + (takesA ? _width(a) : 0) + (takesB ? _width(b) : 0));

        // 2. A conviction takes the pay of its round and of later ones.
        bool losesA = convicted && LAST - 1 >= from;
        bool losesB = convicted && LAST - 5 >= from;
        uint256 good = accrued;
        if (takesA && _isPaid(a) && !losesA) good += _width(a);
        if (takesB && _isPaid(b) && !losesB) good += _width(b);
        assert(paid == good);
        uint256 lost;
        if (takesA && _isPaid(a) && losesA) lost += _width(a);
        if (takesB && _isPaid(b) && losesB) lost += _width(b);
        assert(forfeited == lost && paid + forfeited <= all);

        // 3. Not twice.
        MemberWord word = p.member[node].word;
        assert(word.accrued() == 0);
        if (takesA) assert(word.entry(LAST - 1) == 0);
        else assert(word.entry(LAST - 1) == a);
        if (takesB) assert(word.entry(LAST - 5) == 0);
        else assert(word.entry(LAST - 5) == b);
    }

    /// @dev A reveal sixteen rounds later takes the place of `a`: its slots accrue, are released, or wait for their case.
    function check_ReplaceOldWork(uint8 a, uint8 b, uint32 accrued) public {
        _given(a, b, accrued, false, 0);
        uint256 round = LAST - 1 + 16;
        MemberWord word = p.member[node].word.withLastRevealed(round); // it revealed in the round before, too
        MemberWord next;
        uint256 released;
        (next, released) = p.replaceOldWork(node, word, round);
        assert(next.entry(round) == 0);
        assert(next.entry(LAST - 5) == b);
        uint256 kept = p.displaced[LAST - 1][node];
        if (_isContested(a)) {
            assert(kept == a & ~uint8(0x40) && released == 0 && next.accrued() == accrued);
        } else {
            assert(kept == 0 && released + next.accrued() == _width(a) + accrued);
            assert(released == (_isPaid(a) ? 0 : _width(a)));
        }
    }
}
