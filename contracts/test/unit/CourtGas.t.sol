// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {CourtBase} from "./CourtBase.sol";

/// @title What the court's calls cost: `forge test --isolate -vv --match-path` this file.
contract CourtGasTest is CourtBase {
    function setUp() public override {
        super.setUp();
        setUpPool(defaultParams(), 5);
    }

    function test_CommitVerdicts() public {
        for (uint256 i; i < 18; ++i) {
            uint256 round = play(pool, workers);
            ICourt.Verdict[][] memory lists = new ICourt.Verdict[][](5);
            for (uint256 k; k < 5; ++k) {
                lists[k] = list(seats[k], round);
                commitVerdicts(pool, round, seats[k], lists[k]);
                if (k == 0 && i == 0) expectGas("commitVerdicts first", 36_000);
                if (k == 0 && i == 17) expectGas("commitVerdicts steady", 36_000);
                if (k == 4 && i == 17) expectGas("commitVerdicts last of a round", 37_000);
            }
            for (uint256 k; k < 5; ++k) {
                revealVerdicts(pool, round, seats[k], lists[k]);
                if (k == 1 && i == 0) expectGas("revealVerdicts first", 150_000);
                if (k == 1 && i == 17) expectGas("revealVerdicts steady", 100_000);
            }
        }
    }

    function test_OverlappingCommitVerdicts() public {
        for (uint256 i; i < 18; ++i) {
            uint256 round = play(pool, workers);
            commitVerdicts(pool, round, seats[0], list(seats[0], round));
            if (i == 17) expectGas("commitVerdicts steady, the last one unopened", 42_000);
            pass(150);
        }
    }

    function test_ResolveCase() public {
        (, uint256 caseId) = accuse();
        decide(caseId, seats, ICourt.Outcome.Mismatch);
        expectGas("resolveCase that decides", 37_000);
        pass(21);
        court.resolveCase(caseId);
        expectGas("resolveCase that convicts, first", 150_000);

        Party[] memory rest = new Party[](2);
        (rest[0], rest[1]) = (workers[0], workers[2]);
        uint256 round = play(pool, rest);
        judge(pool, round, seats, rest, fill(2, ICourt.Outcome.Mismatch));
        for (caseId = 2; caseId <= 3; ++caseId) {
            decide(caseId, seats, ICourt.Outcome.Mismatch);
            pass(21);
            court.resolveCase(caseId);
            if (caseId == 2) expectGas("resolveCase that convicts, another case open", 120_000);
            else expectGas("resolveCase that convicts, steady", 132_000);
        }
    }
}
