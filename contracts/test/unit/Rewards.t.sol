// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Rewards} from "../../src/Rewards.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {Base} from "../Base.sol";
import {FeeToken} from "../mocks/HostileTokens.sol";

contract RewardsTest is Base {
    uint256 internal pool;
    address internal constant EARNER = address(0xEA);

    function setUp() public override {
        super.setUp();
        pool = createPool(defaultParams(), 100);
    }

    function _reserve(uint256 amount) private {
        vm.prank(address(ledger));
        rewards.reserve(pool, amount);
    }

    function _credit(address account, uint256 amount) private {
        vm.prank(address(court));
        rewards.credit(pool, account, amount);
    }

    function test_FundByAnyone() public {
        token.mint(STRANGER, 5);
        vm.startPrank(STRANGER);
        token.approve(address(rewards), 5);
        vm.expectEmit(address(rewards));
        emit IRewards.PoolFunded(pool, STRANGER, 5);
        rewards.fund(pool, 5);
        vm.stopPrank();
        assertEq(rewards.free(pool), 105);
        assertEq(rewards.budget(pool).funded, 105);
    }

    function test_RevertWhen_FundingNothingOrNobody() public {
        fails(STRANGER, address(rewards), abi.encodeCall(rewards.fund, (pool, 0)), err(IRewards.ZeroAmount.selector));
        fails(
            STRANGER,
            address(rewards),
            abi.encodeCall(rewards.fund, (99, 1)),
            abi.encodeWithSelector(IRoundLedger.UnknownPool.selector, 99)
        );
    }

    function test_RevertWhen_TokenTakesAFee() public {
        FeeToken fee = new FeeToken();
        Rewards r = Rewards(deploy("Rewards", abi.encode(IERC20(address(fee)), ledger, address(court), TREASURY)));
        fee.mint(CREATOR, 10);
        vm.prank(CREATOR);
        fee.approve(address(r), 10);
        fails(CREATOR, address(r), abi.encodeCall(r.fund, (pool, 10)), err(IRewards.InexactTransfer.selector));
    }

    function test_ReserveReleaseCreditClaim() public {
        vm.expectEmit(address(rewards));
        emit IRewards.Reserved(pool, 60);
        _reserve(60);
        assertEq(rewards.free(pool), 40);
        vm.expectEmit(address(rewards));
        emit IRewards.Released(pool, 10);
        vm.prank(address(court));
        rewards.release(pool, 10);
        vm.expectEmit(address(rewards));
        emit IRewards.Credited(pool, EARNER, 20);
        _credit(EARNER, 20);
        IRewards.Budget memory b = rewards.budget(pool);
        assertEq(b.reserved, 30);
        assertEq(b.credited, 20);
        assertEq(rewards.free(pool), 50);
        assertEq(rewards.earned(EARNER), 20);

        vm.expectEmit(address(rewards));
        emit IRewards.Claimed(EARNER, STRANGER, 20);
        vm.prank(EARNER);
        assertEq(rewards.claim(STRANGER), 20);
        assertEq(token.balanceOf(STRANGER), 20);
        assertEq(rewards.earned(EARNER), 0);
        assertEq(rewards.totalEarned(EARNER), 20);
        assertEq(rewards.budget(pool).credited, 20);
        fails(EARNER, address(rewards), abi.encodeCall(rewards.claim, (EARNER)), err(IRewards.NothingToClaim.selector));
    }

    function test_AccountZeroIsTheTreasury() public {
        _reserve(10);
        vm.expectEmit(address(rewards));
        emit IRewards.Credited(pool, TREASURY, 10);
        _credit(address(0), 10);
        assertEq(rewards.earned(rewards.treasury()), 10);
    }

    function test_RevertWhen_PromisingMoreThanTheBudget() public {
        fails(
            address(ledger),
            address(rewards),
            abi.encodeCall(rewards.reserve, (pool, 101)),
            abi.encodeWithSelector(IRewards.BudgetTooSmall.selector, 100, 101)
        );
    }

    function test_RevertWhen_MoreThanReserved() public {
        _reserve(10);
        bytes memory small = abi.encodeWithSelector(IRewards.ReserveTooSmall.selector, 10, 11);
        fails(address(court), address(rewards), abi.encodeCall(rewards.release, (pool, 11)), small);
        fails(address(ledger), address(rewards), abi.encodeCall(rewards.credit, (pool, EARNER, 11)), small);
    }

    function test_RevertWhen_CallerIsNoModule() public {
        bytes memory only = err(IRewards.OnlyModule.selector);
        fails(STRANGER, address(rewards), abi.encodeCall(rewards.reserve, (pool, 1)), only);
        fails(address(court), address(rewards), abi.encodeCall(rewards.reserve, (pool, 1)), only);
        fails(STRANGER, address(rewards), abi.encodeCall(rewards.release, (pool, 1)), only);
        fails(CREATOR, address(rewards), abi.encodeCall(rewards.credit, (pool, CREATOR, 1)), only);
    }

    function test_RefundLeavesLiabilities() public {
        _reserve(60);
        _credit(EARNER, 20);
        bytes memory refund = abi.encodeCall(rewards.refund, (pool));
        fails(STRANGER, address(rewards), refund, err(IRewards.OnlyPoolCreator.selector));
        fails(CREATOR, address(rewards), refund, err(IRewards.PoolNotEnded.selector));
        vm.startPrank(CREATOR);
        ledger.endPool(pool);
        vm.expectEmit(address(rewards));
        emit IRewards.Refunded(pool, CREATOR, 40);
        assertEq(rewards.refund(pool), 40);
        vm.stopPrank();
        assertEq(token.balanceOf(CREATOR), 40);
        fails(CREATOR, address(rewards), refund, err(IRewards.NothingToClaim.selector));

        vm.prank(address(ledger));
        rewards.release(pool, 40);
        vm.prank(CREATOR);
        assertEq(rewards.refund(pool), 40);
        vm.prank(EARNER);
        assertEq(rewards.claim(EARNER), 20); // never blocked by the refund
        assertEq(token.balanceOf(address(rewards)), 0);
    }

    function test_Constructor() public view {
        assertEq(address(rewards.token()), address(token));
        assertEq(address(rewards.ledger()), address(ledger));
        assertEq(rewards.court(), address(court));
        assertEq(rewards.treasury(), TREASURY);
    }

    function test_RevertWhen_AnAmountIsTooLarge() public {
        uint256 large = uint256(type(uint128).max) + 1;
        bytes memory tooLarge = abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 128, large);
        fails(STRANGER, address(rewards), abi.encodeCall(rewards.fund, (pool, large)), tooLarge);
        fails(address(ledger), address(rewards), abi.encodeCall(rewards.reserve, (pool, large)), tooLarge);
        fails(address(court), address(rewards), abi.encodeCall(rewards.release, (pool, large)), tooLarge);
        fails(address(court), address(rewards), abi.encodeCall(rewards.credit, (pool, EARNER, large)), tooLarge);
    }

    /// One pool's promises are never paid from another one's budget.
    function test_BudgetsAreApart() public {
        uint256 other = createPool(defaultParams(), 7);
        _reserve(100);
        bytes memory poor = abi.encodeWithSelector(IRewards.BudgetTooSmall.selector, 7, 8);
        fails(address(ledger), address(rewards), abi.encodeCall(rewards.reserve, (other, 8)), poor);
        bytes memory small = abi.encodeWithSelector(IRewards.ReserveTooSmall.selector, 0, 1);
        fails(address(ledger), address(rewards), abi.encodeCall(rewards.credit, (other, EARNER, 1)), small);
        assertEq(rewards.free(other), 7);
    }

    /// Pay of several pools is one claim; what is sent here without a call is nobody's.
    function test_ClaimTakesEverythingEarned() public {
        uint256 other = createPool(defaultParams(), 7);
        token.mint(address(rewards), 1000);
        _reserve(10);
        _credit(EARNER, 10);
        vm.startPrank(address(ledger));
        rewards.reserve(other, 7);
        rewards.credit(other, EARNER, 7);
        vm.stopPrank();
        vm.prank(EARNER);
        assertEq(rewards.claim(EARNER), 17);
        assertEq(token.balanceOf(EARNER), 17);
        assertEq(token.balanceOf(address(rewards)), 1000 + 90);
    }

    /// Whatever is reserved, released, credited and refunded: the parts are what was funded, and are there.
    function testFuzz_TheBudgetAddsUp(uint8[12] calldata amounts) public {
        uint256 id = createPool(defaultParams(), 1000);
        vm.prank(CREATOR);
        ledger.endPool(id);
        for (uint256 i; i < 12; i += 4) {
            vm.startPrank(address(ledger));
            _try(abi.encodeCall(rewards.reserve, (id, amounts[i])));
            _try(abi.encodeCall(rewards.release, (id, amounts[i + 1])));
            _try(abi.encodeCall(rewards.credit, (id, EARNER, amounts[i + 2])));
            vm.stopPrank();
            vm.startPrank(amounts[i + 3] % 2 == 0 ? CREATOR : STRANGER);
            _try(abi.encodeCall(rewards.refund, (id)));
            vm.stopPrank();
            IRewards.Budget memory b = rewards.budget(id);
            assertEq(uint256(b.reserved) + b.credited + b.refunded + rewards.free(id), b.funded);
            assertEq(rewards.earned(EARNER), b.credited);
            assertEq(token.balanceOf(CREATOR), b.refunded);
        }
    }

    function _try(bytes memory data) private {
        (bool ok,) = address(rewards).call(data);
        ok; // what exceeds the budget reverts and changes nothing
    }
}
