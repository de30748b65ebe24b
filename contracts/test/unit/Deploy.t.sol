// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

import {Deployer, Deployment} from "../../script/Deployer.sol";
import {Base} from "../Base.sol";

contract DeployTest is Base, Deployer {
    function setUp() public override {
        vm.warp(1_000_000);
        Deployment memory d = _deploy(address(this), vm.getNonce(address(this)), TREASURY, UNBONDING);
        (token, registry, stakes) = (d.token, d.registry, d.stakes);
        (rewards, ledger, court) = (d.rewards, d.ledger, d.court);
    }

    function test_RevertWhen_ThePredictionIsWrong() public {
        fails(address(this), address(this), abi.encodeCall(this.deployAt, (70)), _wrong("Rewards"));
    }

    function deployAt(uint256 nonce) external {
        _deploy(address(this), nonce, TREASURY, UNBONDING);
    }

    function _wrong(string memory name) private pure returns (bytes memory) {
        return abi.encodeWithSelector(WrongAddress.selector, name);
    }

    function test_ContractsKnowEachOther() public view {
        assertEq(stakes.treasury(), TREASURY);
        assertEq(rewards.treasury(), TREASURY);
        assertEq(stakes.ledger(), address(ledger));
        assertEq(stakes.court(), address(court));
        assertEq(address(rewards.ledger()), address(ledger));
        assertEq(rewards.court(), address(court));
        assertEq(address(ledger.registry()), address(registry));
        assertEq(address(ledger.stakeManager()), address(stakes));
        assertEq(address(ledger.rewards()), address(rewards));
        assertEq(address(ledger.court()), address(court));
        assertEq(address(court.registry()), address(registry));
        assertEq(address(court.stakeManager()), address(stakes));
        assertEq(address(court.rewards()), address(rewards));
        assertEq(address(court.ledger()), address(ledger));
    }

    /// Anvil's account 0 and the first contract that it creates; then every length of a nonce's RLP.
    function test_PredictedAddresses() public {
        assertEq(_created(0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266, 0), 0x5FbDB2315678afecb367f032d93F642f64180aa3);
        for (uint256 i; i < 300; ++i) {
            address predicted = _created(address(this), vm.getNonce(address(this)));
            assertEq(address(new Empty()), predicted);
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
