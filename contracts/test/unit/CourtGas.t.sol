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
                if (k == 0 && i == 0) printGas("commitVerdicts first");
                if (k == 0 && i == 17) printGas("commitVerdicts steady");
                if (k == 4 && i == 17) printGas("commitVerdicts last of a round");
            }
            for (uint256 k; k < 5; ++k) {
                revealVerdicts(pool, round, seats[k], lists[k]);
                if (k == 1 && (i == 0 || i == 17)) printGas(i == 0 ? "revealVerdicts first" : "revealVerdicts steady");
            }
        }
    }

    function test_OverlappingCommitVerdicts() public {
        for (uint256 i; i < 18; ++i) {
            uint256 round = play(pool, workers);
            commitVerdicts(pool, round, seats[0], list(seats[0], round));
            if (i == 17) printGas("commitVerdicts steady, the last one unopened");
            pass(150);
        }
    }

    function test_ResolveCase() public {
        (, uint256 caseId) = accuse();
        decide(caseId, seats, ICourt.Outcome.Mismatch);
        printGas("resolveCase that decides");
        pass(21);
        court.resolveCase(caseId);
        printGas("resolveCase that convicts");
    }

    /// Another case about the round is open, as is usual for a finder of several faults.
    function test_ResolveOneOfTwo() public {
        uint256 round = play(pool, workers);
        judge(pool, round, seats, workers, fill(3, ICourt.Outcome.Mismatch));
        decide(1, seats, ICourt.Outcome.Mismatch);
        pass(21);
        court.resolveCase(1);
        printGas("resolveCase that convicts, another case open");
    }
}
