// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {StakeManager} from "../../src/StakeManager.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {Base} from "../Base.sol";
import {FeeToken, HookToken} from "../mocks/HostileTokens.sol";

/// @dev This test is both modules of its own stake manager.
contract StakeManagerTest is Base {
    StakeManager internal vault;
    address internal constant OP = address(0x0B);
    address internal constant FINDER = address(0xF1);
    bytes32 internal constant LOCK = keccak256("lock");

    function setUp() public override {
        super.setUp();
        vault =
            StakeManager(deploy("StakeManager", abi.encode(token, address(this), address(this), TREASURY, UNBONDING)));
        _stake(OP, 100);
    }

    function _stake(address operator, uint256 amount) private {
        token.mint(operator, amount);
        vm.startPrank(operator);
        token.approve(address(vault), amount);
        vault.stake(amount);
        vm.stopPrank();
    }

    function _unbond(uint256 amount) private {
        vm.prank(OP);
        vault.requestUnbond(amount);
    }

    function test_Constructor() public view {
        assertEq(vault.treasury(), TREASURY);
        assertEq(vault.unbondingTime(), UNBONDING);
        assertEq(address(vault.token()), address(token));
        assertEq(vault.ledger(), address(this));
        assertEq(vault.court(), address(this));
    }

    function test_StakeBonds() public {
        token.mint(OP, 5);
        vm.startPrank(OP);
        token.approve(address(vault), 5);
        vm.expectEmit(address(vault));
        emit IStakeManager.Staked(OP, 5);
        vault.stake(5);
        vm.stopPrank();
        assertEq(vault.account(OP).bonded, 105);
        assertEq(vault.totalBonded(), 105);
        assertEq(token.balanceOf(address(vault)), 105);
    }

    function test_RevertWhen_StakeOfZero() public {
        fails(OP, address(vault), abi.encodeCall(vault.stake, (0)), err(IStakeManager.ZeroAmount.selector));
    }

    function test_RevertWhen_StakeWithoutAllowance() public {
        fails(
            OP,
            address(vault),
            abi.encodeCall(vault.stake, (1)),
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(vault), 0, 1)
        );
    }

    function test_RevertWhen_TokenTakesAFee() public {
        FeeToken fee = new FeeToken();
        StakeManager v = StakeManager(
            deploy("StakeManager", abi.encode(IERC20(address(fee)), address(this), address(this), TREASURY, UNBONDING))
        );
        fee.mint(OP, 10);
        vm.prank(OP);
        fee.approve(address(v), 10);
        fails(OP, address(v), abi.encodeCall(v.stake, (10)), err(IStakeManager.InexactTransfer.selector));
    }

    function _permit(uint256 key, uint256 amount) private view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 inner = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                vm.addr(key),
                address(vault),
                amount,
                token.nonces(vm.addr(key)),
                now_()
            )
        );
        return vm.sign(key, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), inner)));
    }

    function test_StakeWithPermit() public {
        address owner = vm.addr(77);
        token.mint(owner, 9);
        (uint8 v, bytes32 r, bytes32 s) = _permit(77, 9);
        vm.prank(owner);
        vault.stakeWithPermit(9, now_(), v, r, s);
        assertEq(vault.account(owner).bonded, 9);
    }

    function test_StakeWithPermitThatSomebodyUsedFirst() public {
        address owner = vm.addr(77);
        token.mint(owner, 9);
        (uint8 v, bytes32 r, bytes32 s) = _permit(77, 9);
        vm.prank(STRANGER);
        token.permit(owner, address(vault), 9, now_(), v, r, s);
        vm.prank(owner);
        vault.stakeWithPermit(9, now_(), v, r, s);
        assertEq(vault.account(owner).bonded, 9);
    }

    /// A permit that does not work is as good as none: what counts is the allowance.
    function test_RevertWhen_ThePermitIsNonsense() public {
        token.mint(OP, 9);
        bytes memory staking = abi.encodeCall(vault.stakeWithPermit, (9, now_(), 27, SPEC, SPEC));
        fails(
            OP,
            address(vault),
            staking,
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(vault), 0, 9)
        );
        vm.startPrank(OP);
        token.approve(address(vault), 9);
        vault.stakeWithPermit(9, now_(), 27, SPEC, SPEC);
        vm.stopPrank();
        assertEq(vault.account(OP).bonded, 109);
    }

    function test_RevertWhen_AnAmountIsTooLarge() public {
        uint256 large = uint256(type(uint128).max) + 1;
        bytes memory tooLarge = abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 128, large);
        fails(OP, address(vault), abi.encodeCall(vault.stake, (large)), tooLarge);
        fails(OP, address(vault), abi.encodeCall(vault.requestUnbond, (large)), tooLarge);
        fails(address(this), address(vault), abi.encodeCall(vault.lock, (OP, LOCK, large)), tooLarge);
        fails(address(this), address(vault), abi.encodeCall(vault.unlock, (OP, LOCK, large)), tooLarge);
        vault.lock(OP, LOCK, 60);
        assertEq(vault.slash(OP, LOCK, type(uint256).max, FINDER, 0), 60); // at most the lock
    }

    /// Tokens that were sent without a call belong to nobody and are in nobody's way.
    function test_DonationsChangeNothing() public {
        token.mint(address(vault), 1000);
        _stake(OP, 5);
        assertEq(vault.account(OP).bonded, 105);
        assertEq(vault.totalBonded(), 105);
        _unbond(105);
        pass(UNBONDING);
        vm.prank(OP);
        vault.withdraw();
        assertEq(token.balanceOf(OP), 105);
        assertEq(token.balanceOf(address(vault)), 1000);
    }

    /// The ledger and the court, nobody else of the protocol.
    function test_BothModules() public {
        stake(OP, 100);
        vm.prank(address(ledger));
        stakes.lock(OP, LOCK, 60);
        vm.prank(address(court));
        stakes.unlock(OP, LOCK, 10);
        assertEq(stakes.lockOf(OP, LOCK), 50);
        bytes memory only = err(IStakeManager.OnlyModule.selector);
        fails(address(pools), address(stakes), abi.encodeCall(stakes.lock, (OP, LOCK, 1)), only);
        fails(address(proofs), address(stakes), abi.encodeCall(stakes.slash, (OP, LOCK, 1, OP, 0)), only);
        fails(address(rewards), address(stakes), abi.encodeCall(stakes.unlock, (OP, LOCK, 1)), only);
        fails(TREASURY, address(stakes), abi.encodeCall(stakes.unlock, (OP, LOCK, 1)), only);
    }

    function test_RevertWhen_NoCaseIsOpen() public {
        bytes memory panic = abi.encodeWithSignature("Panic(uint256)", 0x11);
        fails(address(this), address(vault), abi.encodeCall(vault.caseClosed, (OP)), panic);
    }

    function test_UnbondWaitsThenPays() public {
        vm.expectEmit(address(vault));
        emit IStakeManager.UnbondRequested(OP, 40, uint64(now_() + UNBONDING));
        _unbond(40);
        IStakeManager.Account memory a = vault.account(OP);
        assertEq(a.bonded, 60);
        assertEq(a.unbonding, 40);
        assertEq(a.readyAt, now_() + UNBONDING);
        assertEq(vault.totalBonded(), 60);
        assertEq(vault.totalUnbonding(), 40);

        pass(UNBONDING - 1);
        fails(
            OP,
            address(vault),
            abi.encodeCall(vault.withdraw, ()),
            abi.encodeWithSelector(IStakeManager.StillUnbonding.selector, a.readyAt)
        );
        pass(1);
        vm.expectEmit(address(vault));
        emit IStakeManager.Withdrawn(OP, 40);
        vm.prank(OP);
        vault.withdraw();
        assertEq(token.balanceOf(OP), 40);
        assertEq(vault.totalUnbonding(), 0);
    }

    function test_SecondRequestRestartsTheClock() public {
        _unbond(40);
        pass(UNBONDING - 1);
        _unbond(1);
        assertEq(vault.account(OP).readyAt, now_() + UNBONDING);
        assertEq(vault.account(OP).unbonding, 41);
    }

    function test_RevertWhen_UnbondingZeroOrMoreThanFree() public {
        fails(OP, address(vault), abi.encodeCall(vault.requestUnbond, (0)), err(IStakeManager.ZeroAmount.selector));
        vault.lock(OP, LOCK, 70);
        fails(
            OP,
            address(vault),
            abi.encodeCall(vault.requestUnbond, (31)),
            abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 30, 31)
        );
    }

    function test_Rebond() public {
        _unbond(40);
        vm.expectEmit(address(vault));
        emit IStakeManager.Rebonded(OP, 40);
        vm.prank(OP);
        vault.rebond();
        assertEq(vault.account(OP).bonded, 100);
        assertEq(vault.account(OP).readyAt, 0);
        assertEq(vault.totalUnbonding(), 0);
    }

    function test_RevertWhen_NothingIsUnbonding() public {
        bytes memory nothing = err(IStakeManager.NothingUnbonding.selector);
        fails(OP, address(vault), abi.encodeCall(vault.rebond, ()), nothing);
        fails(OP, address(vault), abi.encodeCall(vault.withdraw, ()), nothing);
    }

    function test_OpenCaseBlocksWithdrawal() public {
        _unbond(40);
        pass(UNBONDING);
        vault.caseOpened(OP);
        vault.caseOpened(OP);
        vault.caseClosed(OP);
        fails(OP, address(vault), abi.encodeCall(vault.withdraw, ()), err(IStakeManager.CaseOpen.selector));
        vault.caseClosed(OP);
        vm.prank(OP);
        vault.withdraw();
        assertEq(token.balanceOf(OP), 40);
    }

    function test_LockAndUnlock() public {
        vm.expectEmit(address(vault));
        emit IStakeManager.Locked(OP, LOCK, 60);
        vault.lock(OP, LOCK, 60);
        assertEq(vault.lockOf(OP, LOCK), 60);
        assertEq(vault.account(OP).locked, 60);
        vm.expectEmit(address(vault));
        emit IStakeManager.Unlocked(OP, LOCK, 20);
        vault.unlock(OP, LOCK, 20);
        assertEq(vault.lockOf(OP, LOCK), 40);
        assertEq(vault.account(OP).locked, 40);
    }

    /// One stake cannot stand behind two things.
    function test_RevertWhen_LockingTheSameStakeTwice() public {
        vault.lock(OP, LOCK, 60);
        fails(
            address(this),
            address(vault),
            abi.encodeCall(vault.lock, (OP, keccak256("other"), 41)),
            abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 40, 41)
        );
    }

    function test_RevertWhen_UnlockingMoreThanTheLock() public {
        vault.lock(OP, LOCK, 60);
        fails(
            address(this),
            address(vault),
            abi.encodeCall(vault.unlock, (OP, LOCK, 61)),
            abi.encodeWithSelector(IStakeManager.LockTooSmall.selector, 60, 61)
        );
    }

    function test_SlashSplitsBetweenFinderAndTreasury() public {
        vault.lock(OP, LOCK, 60);
        vm.expectEmit(address(vault));
        emit IStakeManager.Slashed(OP, LOCK, 55, FINDER, 5);
        assertEq(vault.slash(OP, LOCK, 55, FINDER, 1000), 55);
        assertEq(vault.account(OP).bonded, 45);
        assertEq(vault.account(OP).locked, 5);
        assertEq(vault.lockOf(OP, LOCK), 5);
        assertEq(vault.account(FINDER).bonded, 5); // rounded down
        assertEq(vault.seized(), 50);
        assertEq(vault.totalBonded(), 50);

        vm.expectEmit(address(vault));
        emit IStakeManager.TreasuryPaid(50);
        vault.payTreasury();
        assertEq(token.balanceOf(TREASURY), 50);
        assertEq(token.balanceOf(address(vault)), 50);
        fails(STRANGER, address(vault), abi.encodeCall(vault.payTreasury, ()), err(IStakeManager.ZeroAmount.selector));
    }

    function test_SlashTakesAtMostTheLock() public {
        vault.lock(OP, LOCK, 60);
        vault.lock(OP, keccak256("other"), 40);
        assertEq(vault.slash(OP, LOCK, 1000, address(0), 2000), 60);
        assertEq(vault.seized(), 60); // without a finder there is no fee
        assertEq(vault.lockOf(OP, keccak256("other")), 40);
        assertEq(vault.account(OP).bonded, 40);
        assertEq(vault.slash(OP, LOCK, 1, FINDER, 0), 0);
    }

    /// Whatever is slashed, the parts add up to what was there and nobody else loses.
    function testFuzz_SlashConserves(uint64 locked, uint128 amount, uint16 bps) public {
        vm.assume(locked != 0 && bps <= 2000);
        _stake(address(0xAA), 7);
        _stake(OP, locked);
        vault.lock(OP, LOCK, locked);
        uint256 before = uint256(vault.totalBonded());
        uint256 taken = vault.slash(OP, LOCK, amount, FINDER, bps);
        assertEq(taken, amount < locked ? amount : locked);
        assertEq(vault.totalBonded() + vault.seized(), before);
        assertEq(vault.account(OP).bonded + vault.account(FINDER).bonded + vault.seized() + 7, before);
        assertEq(vault.account(FINDER).bonded, taken * bps / 10_000);
        assertEq(vault.account(address(0xAA)).bonded, 7);
        assertEq(token.balanceOf(address(vault)), before);
    }

    function test_RevertWhen_FinderFeeIsAboveTheCap() public {
        fails(
            address(this),
            address(vault),
            abi.encodeCall(vault.slash, (OP, LOCK, 1, FINDER, 2001)),
            err(IStakeManager.FinderFeeTooHigh.selector)
        );
    }

    function test_RevertWhen_CallerIsNoModule() public {
        bytes memory only = err(IStakeManager.OnlyModule.selector);
        fails(STRANGER, address(vault), abi.encodeCall(vault.lock, (OP, LOCK, 1)), only);
        fails(STRANGER, address(vault), abi.encodeCall(vault.unlock, (OP, LOCK, 1)), only);
        fails(STRANGER, address(vault), abi.encodeCall(vault.slash, (OP, LOCK, 1, STRANGER, 0)), only);
        fails(STRANGER, address(vault), abi.encodeCall(vault.caseOpened, (OP)), only);
        fails(STRANGER, address(vault), abi.encodeCall(vault.caseClosed, (OP)), only);
    }

    function test_ReentrantWithdrawalPaysOnce() public {
        HookToken hook = new HookToken();
        StakeManager v = StakeManager(
            deploy("StakeManager", abi.encode(IERC20(address(hook)), address(this), address(this), TREASURY, UNBONDING))
        );
        Reenterer thief = new Reenterer(v, hook);
        hook.mint(address(thief), 10);
        hook.mint(OP, 10);
        vm.startPrank(OP);
        hook.approve(address(v), 10);
        v.stake(10);
        vm.stopPrank();
        thief.enter();
        pass(UNBONDING);
        thief.leave();
        assertEq(hook.balanceOf(address(thief)), 10);
        assertEq(hook.balanceOf(address(v)), 10);
    }
}

contract Reenterer {
    StakeManager private immutable _vault;
    HookToken private immutable _token;

    constructor(StakeManager vault, HookToken token) {
        _vault = vault;
        _token = token;
    }

    function enter() external {
        _token.approve(address(_vault), 10);
        _vault.stake(10);
        _vault.requestUnbond(10);
    }

    function leave() external {
        _vault.withdraw();
    }

    function received() external {
        _vault.withdraw();
    }
}
