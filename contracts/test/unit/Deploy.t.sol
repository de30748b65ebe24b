// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

import {Deployer, Deployment} from "../../script/Deployer.sol";
import {Base} from "../Base.sol";

contract DeployTest is Base, Deployer {
    function setUp() public override {
        vm.warp(1_000_000);
        Deployment memory d = _deploy(address(this), vm.getNonce(address(this)), TREASURY, GUARDIAN, UNBONDING);
        (token, registry, stakes, rewards) = (d.token, d.registry, d.stakes, d.rewards);
        (pools, ledger, court, proofs) = (d.pools, d.ledger, d.court, d.proofs);
    }

    function test_RevertWhen_ThePredictionIsWrong() public {
        fails(address(this), address(this), abi.encodeCall(this.deployAt, (70)), _wrong("Rewards"));
    }

    function deployAt(uint256 nonce) external {
        _deploy(address(this), nonce, TREASURY, GUARDIAN, UNBONDING);
    }

    function _wrong(string memory name) private pure returns (bytes memory) {
        return abi.encodeWithSelector(WrongAddress.selector, name);
    }

    function test_ContractsKnowEachOther() public view {
        assertEq(address(stakes.token()), address(token));
        assertEq(stakes.treasury(), TREASURY);
        assertEq(stakes.unbondingTime(), UNBONDING);
        assertEq(stakes.ledger(), address(ledger));
        assertEq(stakes.court(), address(court));
        assertEq(address(rewards.token()), address(token));
        assertEq(rewards.treasury(), TREASURY);
        assertEq(address(rewards.ledger()), address(ledger));
        assertEq(rewards.court(), address(court));
        assertEq(address(pools.registry()), address(registry));
        assertEq(address(pools.stakeManager()), address(stakes));
        assertEq(address(pools.ledger()), address(ledger));
        assertEq(pools.guardian(), GUARDIAN);
        assertEq(address(ledger.stakeManager()), address(stakes));
        assertEq(address(ledger.rewards()), address(rewards));
        assertEq(ledger.pools(), address(pools));
        assertEq(address(ledger.court()), address(court));
        assertEq(ledger.fraudProofs(), address(proofs));
        assertEq(address(court.stakeManager()), address(stakes));
        assertEq(address(court.rewards()), address(rewards));
        assertEq(address(court.pools()), address(pools));
        assertEq(address(court.ledger()), address(ledger));
        assertEq(address(proofs.pools()), address(pools));
        assertEq(address(proofs.ledger()), address(ledger));
    }

    /// EIP-170; `forge build --sizes` says by how much.
    function test_EveryContractFitsTheLimit() public {
        super.setUp(); // from the artifacts
        assertTrue(address(ledger).code.length <= 24_576, "RoundLedger");
        assertTrue(address(court).code.length <= 24_576, "Court");
        assertTrue(address(pools).code.length <= 24_576, "Pools");
        assertTrue(address(proofs).code.length <= 24_576, "FraudProofs");
        assertTrue(address(stakes).code.length <= 24_576, "StakeManager");
        assertTrue(address(rewards).code.length <= 24_576, "Rewards");
    }

    /// Anvil's account 0 and the first contract that it creates; then every length of a nonce's RLP.
    function test_PredictedAddresses() public {
        assertEq(_created(0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266, 0), 0x5FbDB2315678afecb367f032d93F642f64180aa3);
        for (uint256 i; i < 300; ++i) {
            address predicted = _created(address(this), vm.getNonce(address(this)));
            assertEq(address(new Empty()), predicted);
        }
        for (uint256 n = 1; n < 1 << 24; n = n * 5 + 1) {
            assertEq(_created(STRANGER, n), vm.computeCreateAddress(STRANGER, n));
        }
    }

    function test_AnyoneMintsTestTokens() public {
        vm.prank(STRANGER);
        token.mint(STRANGER, 3);
        assertEq(ERC20(token).balanceOf(STRANGER), 3);
        assertEq(token.decimals(), 18);
    }
}

contract Empty {}
