// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IPools, NewPool, OuterRule, PoolParams} from "../../src/interfaces/IPools.sol";
import {Base} from "../Base.sol";

/// @title The bounds of what a pool's creator may choose, each from both sides.
contract ParamsTest is Base {
    function _create(NewPool memory p) private {
        vm.prank(CREATOR);
        pools.createPool(p);
    }

    function _good(PoolParams memory p) private {
        _create(newPool(p));
    }

    function _good(OuterRule memory o) private {
        NewPool memory p = newPool(defaultParams());
        p.outer = o;
        _create(p);
    }

    function _bad(NewPool memory p, string memory what) private {
        fails(
            CREATOR,
            address(pools),
            abi.encodeCall(pools.createPool, (p)),
            abi.encodeWithSelector(IPools.BadParams.selector, what)
        );
    }

    function _bad(PoolParams memory p, string memory what) private {
        _bad(newPool(p), what);
    }

    function _bad(OuterRule memory o, string memory what) private {
        NewPool memory p = newPool(defaultParams());
        p.outer = o;
        _bad(p, what);
    }

    // ---------------------------------------------------------------------------------------------- params

    function test_Rounds() public {
        PoolParams memory p = defaultParams();
        p.rounds = 0;
        _bad(p, "rounds");
        p.rounds = 1;
        _good(p);
        p.rounds = type(uint24).max - 2; // the confirm-only round's number plus one still fits 24 bits
        _good(p);
        p.rounds = type(uint24).max - 1;
        _bad(p, "rounds");
    }

    function test_TrainWindow() public {
        PoolParams memory p = defaultParams();
        p.minTrainWindow = 0;
        _bad(p, "trainWindow");
        p.minTrainWindow = p.maxTrainWindow;
        _good(p);
        p.minTrainWindow = p.maxTrainWindow + 1;
        _bad(p, "trainWindow");
    }

    function test_NoWindowIsEmpty() public {
        PoolParams memory p = defaultParams();
        p.revealWindow = 0;
        _bad(p, "revealWindow");
        p = defaultParams();
        p.graceWindow = 0;
        _bad(p, "graceWindow");
        p = defaultParams();
        p.verdictWindow = 0;
        _bad(p, "verdictWindow");
        p = defaultParams();
        p.verdictRevealWindow = 0;
        _bad(p, "verdictRevealWindow");
        p = defaultParams();
        p.voteWindow = 0;
        _bad(p, "voteWindow");
        p = defaultParams();
        p.voteRevealWindow = 0;
        _bad(p, "voteRevealWindow");
        p = defaultParams();
        p.appealWindow = 0;
        _bad(p, "appealWindow");
    }

    /// Each window counts, the juries' three times and the one for appeals twice:
    /// 100 + 50 + 30 + 100 + 50 + 3 * (100 + 50) + 2 * 20 = 820 of 1000 seconds.
    function test_WindowsFitIntoTheUnbondingTime() public {
        PoolParams memory p = defaultParams();
        p.maxTrainWindow += 180;
        _good(p);
        p.maxTrainWindow += 1;
        _bad(p, "unbondingTime");
        p = defaultParams();
        p.revealWindow += 181;
        _bad(p, "unbondingTime");
        p = defaultParams();
        p.graceWindow += 181;
        _bad(p, "unbondingTime");
        p = defaultParams();
        p.verdictWindow += 181;
        _bad(p, "unbondingTime");
        p = defaultParams();
        p.verdictRevealWindow += 181;
        _bad(p, "unbondingTime");
        p = defaultParams();
        p.voteWindow += 60;
        _good(p);
        p.voteWindow += 1;
        _bad(p, "unbondingTime");
        p = defaultParams();
        p.voteRevealWindow += 61;
        _bad(p, "unbondingTime");
        p = defaultParams();
        p.appealWindow += 90;
        _good(p);
        p.appealWindow += 1;
        _bad(p, "unbondingTime");
    }

    function test_Slots() public {
        PoolParams memory p = defaultParams();
        p.maxSlots = 4096;
        _good(p);
        p.maxSlots = 4097;
        _bad(p, "maxSlots");
        p = defaultParams();
        p.minSlots = 0;
        _bad(p, "minSlots");
        p.minSlots = p.maxSlots;
        _good(p);
        p.minSlots = p.maxSlots + 1;
        _bad(p, "minSlots");
    }

    function test_Width() public {
        PoolParams memory p = defaultParams();
        p.maxWidth = 0;
        _bad(p, "maxWidth");
        p.maxWidth = 8;
        _good(p);
        p.maxWidth = 9; // more than the pool sells
        _bad(p, "maxWidth");
        p.maxSlots = 100;
        p.maxWidth = 31;
        _good(p);
        p.maxWidth = 32; // more than a history byte holds
        _bad(p, "maxWidth");
    }

    function test_SeatsAndJuries() public {
        PoolParams memory p = defaultParams();
        p.minSeats = 256;
        _good(p);
        p.minSeats = 257;
        _bad(p, "minSeats");
        p = defaultParams();
        p.auditors = 0;
        _bad(p, "auditors");
        p.auditors = 4;
        _good(p);
        p.auditors = 5;
        _bad(p, "auditors");
        p = defaultParams();
        p.jurySize = 0;
        _bad(p, "jurySize");
        p.jurySize = 16;
        _good(p);
        p.jurySize = 17;
        _bad(p, "jurySize");
    }

    function test_Rates() public {
        PoolParams memory p = defaultParams();
        p.auditRate = 10_000;
        p.finderFee = 2000;
        _good(p);
        p.auditRate = 10_001;
        _bad(p, "auditRate");
        p.auditRate = 0;
        _bad(p, "auditRate");
        p = defaultParams();
        p.finderFee = 2001;
        _bad(p, "finderFee");
    }

    /// A lock can pay for the fault that it stands behind; what is no crime costs a tenth of it at most.
    function test_Slashes() public {
        PoolParams memory p = defaultParams();
        p.slashConviction = p.stakePerSlot;
        p.slashMiss = p.stakePerSlot / 10;
        p.slashFalseAccusation = p.seatStake;
        p.slashOverturned = p.seatStake;
        p.slashAbsence = p.seatStake / 10;
        _good(p);
        p.slashConviction += 1;
        _bad(p, "slashConviction");
        p.slashConviction -= 1;
        p.slashMiss += 1;
        _bad(p, "slashMiss");
        p.slashMiss -= 1;
        p.slashFalseAccusation += 1;
        _bad(p, "slashFalseAccusation");
        p.slashFalseAccusation -= 1;
        p.slashOverturned += 1;
        _bad(p, "slashOverturned");
        p.slashOverturned -= 1;
        p.slashAbsence += 1;
        _bad(p, "slashAbsence");
    }

    function test_RequiredFields() public {
        PoolParams memory p = defaultParams();
        p.orchestrator = address(0);
        _bad(p, "orchestrator");
        NewPool memory n = newPool(defaultParams());
        n.runSpecHash = 0;
        _bad(n, "runSpecHash");
        n = newPool(defaultParams());
        n.genesisRoot = 0;
        _bad(n, "genesisRoot");
    }

    // ---------------------------------------------------------------------------------------------- outer rule

    function test_Codec() public {
        OuterRule memory o = defaultOuter();
        o.codec = 0;
        _bad(o, "codec");
        o.codec = 5;
        _bad(o, "codec");
        (o.codec, o.k) = (2, 0);
        _good(o);
        o.codec = 3;
        _good(o);
        o.k = 1; // only the codecs that choose have it
        _bad(o, "k");
        (o.codec, o.k) = (1, 0);
        _bad(o, "k");
        o.k = 1;
        _good(o);
        o.k = 4096;
        _good(o);
        o.k = 4097;
        _bad(o, "k");
        (o.codec, o.k) = (4, 0);
        _bad(o, "k");
        o.k = 64;
        _good(o);
        o.k = 65;
        _bad(o, "k");
    }

    function test_RuleAndItsNumbers() public {
        OuterRule memory o = defaultOuter();
        o.maxStep = 0;
        _bad(o, "maxStep");
        o.maxStep = 1 << 31;
        _good(o);
        o.maxStep += 1;
        _bad(o, "maxStep");
        o = defaultOuter();
        o.rule = 2;
        _good(o);
        o.rule = 3;
        _bad(o, "rule");
        o = defaultOuter();
        o.lr = 1 << 24;
        _good(o);
        o.lr += 1;
        _bad(o, "lr");
    }

    function test_MomentumBelongsToNesterov() public {
        OuterRule memory o = defaultOuter();
        o.momentum = 1;
        _bad(o, "momentum");
        o.rule = 1;
        _good(o);
        o.momentum = (1 << 16) - 1;
        _good(o);
        o.momentum += 1;
        _bad(o, "momentum");
        o.momentum = 0;
        _bad(o, "momentum");
        o.rule = 2;
        _good(o);
        o.momentum = 1;
        _bad(o, "momentum");
    }

    function test_Parameters() public {
        OuterRule memory o = defaultOuter();
        o.parameters = 0;
        _bad(o, "parameters");
        o.parameters = 1;
        _good(o);
        o.parameters = 1 << 40;
        _good(o);
        o.parameters += 1;
        _bad(o, "parameters");
    }

    function test_Guard() public {
        OuterRule memory o = defaultOuter();
        o.guard = 64;
        _good(o);
        o.guard = 65;
        _bad(o, "guard");
    }

    function test_Trim() public {
        NewPool memory p = newPool(defaultParams());
        (p.outer.trim, p.params.maxSlots) = (4999, 32);
        _create(p);
        p.outer.trim = 5000;
        _bad(p, "trim");
        (p.outer.trim, p.params.maxSlots) = (1, 33);
        _bad(p, "trim");
        p.outer.trim = 0;
        _create(p);
    }

    function test_Fragments() public {
        OuterRule memory o = defaultOuter();
        o.fragments = 0;
        _bad(o, "fragments");
        (o.parameters, o.fragments) = (8192, 2);
        _good(o);
        o.fragments = 3; // of 4096 each: nothing is left for the third
        _bad(o, "fragments");
        o.parameters += 1;
        _good(o);
        (o.parameters, o.fragments) = (1, 1);
        _good(o);
        o.fragments = 2;
        _bad(o, "fragments");
        (o.parameters, o.fragments) = (1 << 40, 256);
        _good(o);
        o.fragments = 257;
        _bad(o, "fragments");
    }
}
