// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {PoolParams} from "../../src/interfaces/IPools.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {Base} from "../Base.sol";

/// @dev Cheat codes that only these tests use.
interface MoreVm {
    struct Gas {
        uint64 gasLimit;
        uint64 gasTotalUsed;
        uint64 gasMemoryUsed;
        int64 gasRefunded;
        uint64 gasRemaining;
    }

    function etch(address target, bytes calldata code) external;
    function lastCallGas() external view returns (Gas memory);
    function expectEmit(bool topic1, bool topic2, bool topic3, bool data, address emitter) external;
}

/// @dev What EIP-2935 keeps: the hashes of blocks that were set, and a revert for any other.
contract History {
    mapping(uint256 number => bytes32) private _hashes;

    function set(uint256 number, bytes32 hash) external {
        _hashes[number] = hash;
    }

    fallback(bytes calldata input) external returns (bytes memory) {
        bytes32 hash = _hashes[uint256(bytes32(input))];
        require(hash != 0);
        return abi.encode(hash);
    }
}

/// @title A pool with workers and seats, and what the court's tests do with them.
abstract contract CourtBase is Base {
    /// As forge prints it.
    event log_named_uint(string name, uint256 value);

    MoreVm internal constant more = MoreVm(address(vm));

    uint256 internal pool;
    Party[] internal workers;
    Party[] internal seats;
    Party internal accused; // two slots wide

    function setUpPool(PoolParams memory p, uint256 seatCount) internal {
        pool = createPool(p, 100_000 ether);
        for (uint256 i; i < 3; ++i) {
            workers.push(party(i));
            join(pool, workers[i], uint16(1 + i % 2));
        }
        accused = workers[1];
        for (uint256 i; i < seatCount; ++i) {
            seats.push(party(100 + i));
            takeSeat(pool, seats[i]);
        }
    }

    function courtFails(address sender, bytes memory data, bytes memory expected) internal {
        fails(sender, address(court), data, expected);
    }

    // ---------------------------------------------------------------------------------------------- verdicts

    /// @dev What a validator owes about a round when it accepts everything.
    function list(Party memory v, uint256 round) internal view returns (ICourt.Verdict[] memory) {
        return verdictsOf(pool, round, v, workers, fill(workers.length, ICourt.Outcome.Accept));
    }

    function revealCall(uint256 round, ICourt.Verdict[] memory verdicts) internal view returns (bytes memory) {
        return abi.encodeCall(court.revealVerdicts, (pool, round, verdicts, SPEC));
    }

    function accept(uint256 round) internal {
        judge(pool, round, seats, workers, fill(3, ICourt.Outcome.Accept));
    }

    function outcomes(ICourt.Outcome forAccused) internal pure returns (ICourt.Outcome[] memory all) {
        all = fill(3, ICourt.Outcome.Accept);
        all[1] = forAccused;
    }

    /// @dev Plays a round and has the accused's auditors accuse it.
    function accuse(ICourt.Outcome fault) internal returns (uint256 round, uint256 caseId) {
        round = play(pool, workers);
        judge(pool, round, seats, workers, outcomes(fault));
        caseId = court.caseAbout(pool, round, accused.node);
    }

    function accuse() internal returns (uint256 round, uint256 caseId) {
        return accuse(ICourt.Outcome.Mismatch);
    }

    // ---------------------------------------------------------------------------------------------- cases

    function indexOf(address node) internal view returns (uint256) {
        for (uint256 i; i < seats.length; ++i) {
            if (seats[i].node == node) return i;
        }
        revert Failed("no such seat");
    }

    function seatOf(address node) internal view returns (Party memory) {
        return seats[indexOf(node)];
    }

    function accuserOf(uint256 caseId) internal view returns (Party memory) {
        return seatOf(court.caseOf(caseId).accuser);
    }

    function status(uint256 caseId) internal view returns (ICourt.CaseStatus) {
        return court.caseOf(caseId).status;
    }

    function expectStatus(uint256 caseId, ICourt.CaseStatus expected) internal view {
        assertEq(uint256(status(caseId)), uint256(expected));
    }

    /// @dev The first `guilty` jurors convict, the next `innocent` acquit, the others stay silent.
    function vote(uint256 caseId, uint256 guilty, uint256 innocent) internal {
        address[] memory jury = court.juryOf(caseId);
        for (uint256 i; i < guilty + innocent; ++i) {
            commitVote(caseId, seatOf(jury[i]), i < guilty ? ICourt.Outcome.Mismatch : ICourt.Outcome.Accept);
        }
        if (guilty + innocent < jury.length) pass(101);
        for (uint256 i; i < guilty + innocent; ++i) {
            revealVote(caseId, seatOf(jury[i]), i < guilty ? ICourt.Outcome.Mismatch : ICourt.Outcome.Accept);
        }
        court.resolveCase(caseId);
    }

    /// @dev The whole jury votes alike, nobody appeals, and the case ends.
    function end(uint256 caseId, ICourt.Outcome outcome) internal {
        decide(caseId, seats, outcome);
        endUnappealed(caseId);
    }

    function endUnappealed(uint256 caseId) internal {
        if (status(caseId) != ICourt.CaseStatus.Decided) return;
        pass(21);
        court.resolveCase(caseId);
    }

    /// @dev Nobody votes on any level until the case is hung for good.
    function hang(uint256 caseId) internal {
        while (status(caseId) == ICourt.CaseStatus.Open) {
            pass(151);
            court.resolveCase(caseId);
        }
        expectStatus(caseId, ICourt.CaseStatus.Hung);
    }

    function appealFor(uint256 caseId, address operator) internal {
        stake(operator, 10 ether);
        vm.prank(operator);
        court.appeal(caseId);
    }

    function voteHash(uint256 caseId, address juror, ICourt.Outcome outcome) internal view returns (bytes32) {
        return Hashes.vote(address(court), caseId, juror, outcome, GENESIS, SPEC);
    }

    /// @dev Once the close of the round that ran last can no longer be disproved.
    function settleLater(uint256 poolId, address node) internal {
        pass(131);
        ledger.settle(poolId, node);
    }

    /// @dev Gas of the last call, printed; a whole transaction's under `forge test --isolate`.
    function expectGas(string memory name, uint256 limit) internal {
        uint256 gas = more.lastCallGas().gasTotalUsed;
        emit log_named_uint(name, gas);
        assertTrue(gas <= limit, name);
    }
}
