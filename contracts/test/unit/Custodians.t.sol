// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Rewards} from "../../src/Rewards.sol";
import {StakeManager} from "../../src/StakeManager.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {Vm} from "../Vm.sol";

/// @dev A token that can be told to deliver too little or too much, and to take permits or to refuse them.
contract OddToken {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    int256 public error; // added to what a transfer delivers
    bool public takesPermits;

    function set(int256 error_, bool takesPermits_) external {
        (error, takesPermits) = (error_, takesPermits_);
    }

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function permit(address owner, address spender, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        require(takesPermits && deadline == 7 && v == 27 && r == bytes32("r") && s == bytes32("s"));
        allowance[owner][spender] = amount;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        _move(msg.sender, to, amount);
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
        return true;
    }

    function _move(address from, address to, uint256 amount) private {
        balanceOf[from] -= amount;
        balanceOf[to] = uint256(int256(balanceOf[to] + amount) + error);
    }
}

/// @title Both custodians alone, to the last word: what changes, what does not, what is emitted, who may not.
/// @dev Stands on its own, without the protocol's other contracts, so that `tools/mutate.py` compiles it in seconds. This
/// test is the ledger of both.
contract CustodiansTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    error Unequal(uint256 actual, uint256 expected);
    error ShouldFail();
    error WrongError(bytes got, bytes expected);

    address private constant COURT = address(0xC0);
    address private constant TREASURY = address(0x7E);
    address private constant OP = address(0x0B);
    address private constant FINDER = address(0xF1);
    address private constant STRANGER = address(0x57);
    address private constant CREATOR = address(0xCE);
    bytes32 private constant A = keccak256("a");
    bytes32 private constant B = keccak256("b");
    uint64 private constant UNBONDING = 1000;
    uint256 private constant POOL = 3;
    uint256 private constant TOO_MUCH = 1 << 128;

    OddToken private token;
    StakeManager private vault;
    Rewards private rewards;
    bool private ended;

    /// @dev What Rewards asks its ledger.
    function pool(uint256 poolId) external view returns (IRoundLedger.Pool memory p) {
        require(poolId == POOL || poolId == POOL + 1, IRoundLedger.UnknownPool(poolId));
        p.creator = CREATOR;
        p.ended = ended;
    }

    function setUp() public {
        vm.warp(5000);
        token = new OddToken();
        IERC20 erc20 = IERC20(address(token));
        vault = new StakeManager(erc20, address(this), COURT, TREASURY, UNBONDING);
        rewards = new Rewards(erc20, IRoundLedger(address(this)), COURT, TREASURY);
        token.mint(OP, 1000);
        token.mint(CREATOR, 1000);
        vm.prank(OP);
        token.approve(address(vault), 10_000);
        vm.prank(CREATOR);
        token.approve(address(rewards), 10_000);
    }

    // ---------------------------------------------------------------------------------------------- helpers

    function _equal(uint256 actual, uint256 expected) private pure {
        require(actual == expected, Unequal(actual, expected));
    }

    function _fails(address sender, address target, bytes memory data, bytes memory expected) private {
        vm.prank(sender);
        (bool ok, bytes memory got) = target.call(data);
        require(!ok, ShouldFail());
        require(keccak256(got) == keccak256(expected), WrongError(got, expected));
    }

    function _error(bytes4 selector) private pure returns (bytes memory) {
        return abi.encodePacked(selector);
    }

    function _overflow() private pure returns (bytes memory) {
        return abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 128, TOO_MUCH);
    }

    function _panic() private pure returns (bytes memory) {
        return abi.encodeWithSignature("Panic(uint256)", 0x11);
    }

    function _stake(address operator, uint256 amount) private {
        if (operator != OP) {
            token.mint(operator, amount);
            vm.prank(operator);
            token.approve(address(vault), amount);
        }
        vm.prank(operator);
        vault.stake(amount);
    }

    function _unbond(uint256 amount) private {
        vm.prank(OP);
        vault.requestUnbond(amount);
    }

    /// @dev An operator's whole account.
    function _account(
        address operator,
        uint256 bonded,
        uint256 locked,
        uint256 unbonding,
        uint256 readyAt,
        uint256 cases
    ) private view {
        IStakeManager.Account memory a = vault.account(operator);
        _equal(a.bonded, bonded);
        _equal(a.locked, locked);
        _equal(a.unbonding, unbonding);
        _equal(a.readyAt, readyAt);
        _equal(a.openCases, cases);
    }

    function _totals(uint256 bonded, uint256 unbonding, uint256 seized) private view {
        _equal(vault.totalBonded(), bonded);
        _equal(vault.totalUnbonding(), unbonding);
        _equal(vault.seized(), seized);
        _equal(token.balanceOf(address(vault)), bonded + unbonding + seized);
    }

    // ---------------------------------------------------------------------------------------------- stakes

    function test_WiresTheStakeManager() public view {
        require(address(vault.token()) == address(token) && vault.ledger() == address(this));
        require(vault.court() == COURT && vault.treasury() == TREASURY);
        _equal(vault.unbondingTime(), UNBONDING);
        _equal(vault.MAX_FINDER_FEE(), 2000);
    }

    function test_StakeAddsUp() public {
        _stake(OP, 60);
        vm.expectEmit(address(vault));
        emit IStakeManager.Staked(OP, 40);
        _stake(OP, 40);
        _stake(FINDER, 7);
        _account(OP, 100, 0, 0, 0, 0);
        _account(FINDER, 7, 0, 0, 0, 0);
        _totals(107, 0, 0);
        _equal(token.balanceOf(OP), 900);
    }

    function test_RevertWhen_AStakeIsNothingOrTooMuch() public {
        _fails(OP, address(vault), abi.encodeCall(vault.stake, (0)), _error(IStakeManager.ZeroAmount.selector));
        _fails(OP, address(vault), abi.encodeCall(vault.stake, (TOO_MUCH)), _overflow());
    }

    function test_RevertWhen_TheTokenIsNotExact() public {
        bytes memory call_ = abi.encodeCall(vault.stake, (10));
        token.set(-1, false);
        _fails(OP, address(vault), call_, _error(IStakeManager.InexactTransfer.selector));
        token.set(1, false);
        _fails(OP, address(vault), call_, _error(IStakeManager.InexactTransfer.selector));
    }

    function test_StakeWithPermit() public {
        vm.prank(OP);
        token.approve(address(vault), 0);
        bytes memory call_ = abi.encodeCall(vault.stakeWithPermit, (50, 7, 27, bytes32("r"), bytes32("s")));
        _fails(OP, address(vault), call_, _panic()); // no permit, no allowance

        token.set(0, true);
        vm.prank(OP);
        vault.stakeWithPermit(50, 7, 27, "r", "s");
        _account(OP, 50, 0, 0, 0, 0);

        // Somebody used the permit first: it fails now, and its allowance is there.
        token.set(0, false);
        vm.prank(OP);
        token.approve(address(vault), 30);
        vm.prank(OP);
        vault.stakeWithPermit(30, 7, 27, "r", "s");
        _account(OP, 80, 0, 0, 0, 0);
        _totals(80, 0, 0);
    }

    function test_UnbondMovesFreeStake() public {
        _stake(OP, 100);
        vault.lock(OP, A, 40);
        vm.expectEmit(address(vault));
        emit IStakeManager.UnbondRequested(OP, 10, 6000);
        _unbond(10);
        _account(OP, 90, 40, 10, 6000, 0);
        vm.warp(5001);
        _unbond(50); // all that is free
        _account(OP, 40, 40, 60, 6001, 0);
        _totals(40, 60, 0);
    }

    function test_RevertWhen_UnbondingNothingOrTooMuch() public {
        _stake(OP, 100);
        vault.lock(OP, A, 40);
        bytes memory nothing = abi.encodeCall(vault.requestUnbond, (0));
        _fails(OP, address(vault), nothing, _error(IStakeManager.ZeroAmount.selector));
        bytes memory more = abi.encodeCall(vault.requestUnbond, (61));
        _fails(OP, address(vault), more, abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 60, 61));
        _fails(OP, address(vault), abi.encodeCall(vault.requestUnbond, (TOO_MUCH)), _overflow());
    }

    function test_Rebond() public {
        _stake(OP, 100);
        _unbond(30);
        vm.expectEmit(address(vault));
        emit IStakeManager.Rebonded(OP, 30);
        vm.prank(OP);
        vault.rebond();
        _account(OP, 100, 0, 0, 0, 0);
        _totals(100, 0, 0);
        bytes memory nothing = _error(IStakeManager.NothingUnbonding.selector);
        _fails(OP, address(vault), abi.encodeCall(vault.rebond, ()), nothing);
        _fails(OP, address(vault), abi.encodeCall(vault.withdraw, ()), nothing);
    }

    function test_Withdraw() public {
        _stake(OP, 100);
        _unbond(30);
        vm.warp(5999);
        bytes memory early = abi.encodeWithSelector(IStakeManager.StillUnbonding.selector, uint64(6000));
        _fails(OP, address(vault), abi.encodeCall(vault.withdraw, ()), early);
        vm.warp(6000);
        vault.caseOpened(OP);
        _fails(OP, address(vault), abi.encodeCall(vault.withdraw, ()), _error(IStakeManager.CaseOpen.selector));
        vault.caseClosed(OP);
        vm.expectEmit(address(vault));
        emit IStakeManager.Withdrawn(OP, 30);
        vm.prank(OP);
        vault.withdraw();
        _account(OP, 70, 0, 0, 0, 0);
        _totals(70, 0, 0);
        _equal(token.balanceOf(OP), 930);
    }

    function test_LocksStandBesideEachOther() public {
        _stake(OP, 100);
        vm.expectEmit(address(vault));
        emit IStakeManager.Locked(OP, A, 60);
        vault.lock(OP, A, 60);
        vm.prank(COURT);
        vault.lock(OP, B, 30);
        vault.lock(OP, A, 10);
        _account(OP, 100, 100, 0, 0, 0);
        _equal(vault.lockOf(OP, A), 70);
        _equal(vault.lockOf(OP, B), 30);
        vm.expectEmit(address(vault));
        emit IStakeManager.Unlocked(OP, A, 20);
        vault.unlock(OP, A, 20);
        vm.prank(COURT);
        vault.unlock(OP, B, 30);
        _account(OP, 100, 50, 0, 0, 0);
        _equal(vault.lockOf(OP, A), 50);
        _equal(vault.lockOf(OP, B), 0);
        _totals(100, 0, 0);
    }

    function test_RevertWhen_LockingOrUnlockingTooMuch() public {
        _stake(OP, 100);
        vault.lock(OP, A, 70);
        bytes memory lock = abi.encodeCall(vault.lock, (OP, A, 31));
        bytes memory free = abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 30, 31);
        _fails(address(this), address(vault), lock, free);
        bytes memory unlock = abi.encodeCall(vault.unlock, (OP, A, 71));
        bytes memory held = abi.encodeWithSelector(IStakeManager.LockTooSmall.selector, 70, 71);
        _fails(address(this), address(vault), unlock, held);
        vault.unlock(OP, A, 70);
        vault.lock(OP, A, 100);
        _fails(address(this), address(vault), abi.encodeCall(vault.lock, (OP, A, TOO_MUCH)), _overflow());
        _fails(address(this), address(vault), abi.encodeCall(vault.unlock, (OP, A, TOO_MUCH)), _overflow());
    }

    function test_SlashTakesFromItsLockAlone() public {
        _stake(OP, 100);
        vault.lock(OP, A, 60);
        vault.lock(OP, B, 40);
        vm.expectEmit(address(vault));
        emit IStakeManager.Slashed(OP, A, 39, FINDER, 7);
        _equal(vault.slash(OP, A, 39, FINDER, 2000), 39); // a fifth of it, rounded down
        _account(OP, 61, 61, 0, 0, 0);
        _account(FINDER, 7, 0, 0, 0, 0);
        _equal(vault.lockOf(OP, A), 21);
        _equal(vault.lockOf(OP, B), 40);
        _totals(68, 0, 32);

        // More than the lock holds takes what it holds; nobody found it.
        vm.expectEmit(address(vault));
        emit IStakeManager.Slashed(OP, A, 21, address(0), 0);
        vm.prank(COURT);
        _equal(vault.slash(OP, A, type(uint256).max, address(0), 2000), 21);
        _account(OP, 40, 40, 0, 0, 0);
        _account(address(0), 0, 0, 0, 0, 0);
        _equal(vault.lockOf(OP, A), 0);
        _totals(47, 0, 53);

        // An empty lock gives nothing, and exactly what it holds is all of it.
        _equal(vault.slash(OP, A, 5, FINDER, 2000), 0);
        _equal(vault.slash(OP, B, 40, FINDER, 1000), 40);
        _account(OP, 0, 0, 0, 0, 0);
        _account(FINDER, 11, 0, 0, 0, 0);
        _totals(11, 0, 89);
    }

    function test_AFeeOfOneWeiIsPaid() public {
        _stake(OP, 100);
        vault.lock(OP, A, 50);
        vault.slash(OP, A, 5, FINDER, 2000);
        _account(FINDER, 1, 0, 0, 0, 0);
        _totals(96, 0, 4);
        vault.slash(OP, A, 4, FINDER, 2000); // less than one
        _account(FINDER, 1, 0, 0, 0, 0);
        _totals(92, 0, 8);
    }

    function test_SlashOfTheFindersOwnLock() public {
        _stake(OP, 100);
        vault.lock(OP, A, 50);
        vault.slash(OP, A, 50, OP, 1000);
        _account(OP, 55, 0, 0, 0, 0);
        _totals(55, 0, 45);
    }

    function test_RevertWhen_TheFindersFeeIsTooHigh() public {
        _stake(OP, 100);
        vault.lock(OP, A, 50);
        bytes memory call_ = abi.encodeCall(vault.slash, (OP, A, 10, FINDER, 2001));
        _fails(address(this), address(vault), call_, _error(IStakeManager.FinderFeeTooHigh.selector));
    }

    function test_PayTreasury() public {
        bytes memory call_ = abi.encodeCall(vault.payTreasury, ());
        _fails(STRANGER, address(vault), call_, _error(IStakeManager.ZeroAmount.selector));
        _stake(OP, 100);
        vault.lock(OP, A, 50);
        vault.slash(OP, A, 50, address(0), 0);
        vm.expectEmit(address(vault));
        emit IStakeManager.TreasuryPaid(50);
        vm.prank(STRANGER);
        vault.payTreasury();
        _totals(50, 0, 0);
        _equal(token.balanceOf(TREASURY), 50);
    }

    function test_CasesAreCounted() public {
        vault.caseOpened(OP);
        vm.prank(COURT);
        vault.caseOpened(OP);
        _account(OP, 0, 0, 0, 0, 2);
        vault.caseClosed(OP);
        _account(OP, 0, 0, 0, 0, 1);
        vm.prank(COURT);
        vault.caseClosed(OP);
        _account(OP, 0, 0, 0, 0, 0);
        _fails(address(this), address(vault), abi.encodeCall(vault.caseClosed, (OP)), _panic());
    }

    function test_RevertWhen_AStrangerMovesStakes() public {
        _stake(OP, 100);
        vault.lock(OP, A, 50);
        vault.caseOpened(OP);
        bytes memory expected = _error(IStakeManager.OnlyModule.selector);
        _fails(STRANGER, address(vault), abi.encodeCall(vault.lock, (OP, A, 1)), expected);
        _fails(STRANGER, address(vault), abi.encodeCall(vault.unlock, (OP, A, 1)), expected);
        _fails(STRANGER, address(vault), abi.encodeCall(vault.slash, (OP, A, 1, OP, 0)), expected);
        _fails(STRANGER, address(vault), abi.encodeCall(vault.caseOpened, (OP)), expected);
        _fails(STRANGER, address(vault), abi.encodeCall(vault.caseClosed, (OP)), expected);
    }

    // ---------------------------------------------------------------------------------------------- budgets and pay

    function _fund(uint256 amount) private {
        vm.prank(CREATOR);
        rewards.fund(POOL, amount);
    }

    /// @dev A pool's whole budget.
    function _budget(uint256 funded, uint256 reserved, uint256 credited, uint256 refunded) private view {
        IRewards.Budget memory b = rewards.budget(POOL);
        _equal(b.funded, funded);
        _equal(b.reserved, reserved);
        _equal(b.credited, credited);
        _equal(b.refunded, refunded);
        _equal(rewards.free(POOL), funded - reserved - credited - refunded);
        _equal(rewards.budget(POOL + 1).funded, 0);
    }

    function test_WiresTheRewards() public view {
        require(address(rewards.token()) == address(token) && address(rewards.ledger()) == address(this));
        require(rewards.court() == COURT && rewards.treasury() == TREASURY);
    }

    function test_FundAddsUp() public {
        _fund(60);
        vm.expectEmit(address(rewards));
        emit IRewards.PoolFunded(POOL, CREATOR, 40);
        _fund(40);
        _budget(100, 0, 0, 0);
        _equal(token.balanceOf(address(rewards)), 100);
    }

    function test_RevertWhen_FundingIsNothingOrTooMuchOrNowhere() public {
        bytes memory call_ = abi.encodeCall(rewards.fund, (POOL, 0));
        _fails(CREATOR, address(rewards), call_, _error(IRewards.ZeroAmount.selector));
        _fails(CREATOR, address(rewards), abi.encodeCall(rewards.fund, (POOL, TOO_MUCH)), _overflow());
        call_ = abi.encodeCall(rewards.fund, (POOL + 2, 1));
        _fails(CREATOR, address(rewards), call_, abi.encodeWithSelector(IRoundLedger.UnknownPool.selector, POOL + 2));
        call_ = abi.encodeCall(rewards.fund, (POOL, 10));
        token.set(-1, false);
        _fails(CREATOR, address(rewards), call_, _error(IRewards.InexactTransfer.selector));
        token.set(1, false);
        _fails(CREATOR, address(rewards), call_, _error(IRewards.InexactTransfer.selector));
    }

    function test_ReserveAndRelease() public {
        _fund(100);
        vm.expectEmit(address(rewards));
        emit IRewards.Reserved(POOL, 60);
        rewards.reserve(POOL, 60);
        rewards.reserve(POOL, 40); // all that is free
        _budget(100, 100, 0, 0);
        vm.expectEmit(address(rewards));
        emit IRewards.Released(POOL, 30);
        rewards.release(POOL, 30);
        vm.prank(COURT);
        rewards.release(POOL, 20);
        _budget(100, 50, 0, 0);
        bytes memory call_ = abi.encodeCall(rewards.reserve, (POOL, 51));
        bytes memory small = abi.encodeWithSelector(IRewards.BudgetTooSmall.selector, 50, 51);
        _fails(address(this), address(rewards), call_, small);
        small = abi.encodeWithSelector(IRewards.ReserveTooSmall.selector, 50, 51);
        _fails(address(this), address(rewards), abi.encodeCall(rewards.release, (POOL, 51)), small);
        _fails(address(this), address(rewards), abi.encodeCall(rewards.credit, (POOL, OP, 51)), small);
        rewards.release(POOL, 50);
        _budget(100, 0, 0, 0);
        _fails(address(this), address(rewards), abi.encodeCall(rewards.reserve, (POOL, TOO_MUCH)), _overflow());
        _fails(address(this), address(rewards), abi.encodeCall(rewards.release, (POOL, TOO_MUCH)), _overflow());
        _fails(address(this), address(rewards), abi.encodeCall(rewards.credit, (POOL, OP, TOO_MUCH)), _overflow());
    }

    function test_CreditAndClaim() public {
        _fund(100);
        rewards.reserve(POOL, 90);
        vm.expectEmit(address(rewards));
        emit IRewards.Credited(POOL, OP, 20);
        rewards.credit(POOL, OP, 20);
        vm.prank(COURT);
        rewards.credit(POOL, OP, 5);
        vm.expectEmit(address(rewards));
        emit IRewards.Credited(POOL, TREASURY, 7);
        rewards.credit(POOL, address(0), 7);
        _budget(100, 58, 32, 0);
        _equal(rewards.earned(OP), 25);
        _equal(rewards.earned(TREASURY), 7);
        _equal(rewards.earned(address(0)), 0);

        vm.expectEmit(address(rewards));
        emit IRewards.Claimed(OP, STRANGER, 25);
        vm.prank(OP);
        _equal(rewards.claim(STRANGER), 25);
        _equal(token.balanceOf(STRANGER), 25);
        _equal(rewards.earned(OP), 0);
        _equal(rewards.totalEarned(OP), 25);
        _fails(OP, address(rewards), abi.encodeCall(rewards.claim, (OP)), _error(IRewards.NothingToClaim.selector));

        rewards.credit(POOL, OP, 58); // all that is reserved
        _equal(rewards.earned(OP), 58);
        _equal(rewards.totalEarned(OP), 83);
        vm.prank(OP);
        rewards.claim(OP);
        _equal(rewards.totalEarned(OP), 83);
        _budget(100, 0, 90, 0);
        _equal(token.balanceOf(address(rewards)), 17);
    }

    function test_RefundGivesWhatNobodyIsOwed() public {
        _fund(100);
        rewards.reserve(POOL, 50);
        rewards.credit(POOL, OP, 20);
        bytes memory call_ = abi.encodeCall(rewards.refund, (POOL));
        _fails(CREATOR, address(rewards), call_, _error(IRewards.PoolNotEnded.selector));
        ended = true;
        _fails(STRANGER, address(rewards), call_, _error(IRewards.OnlyPoolCreator.selector));
        vm.expectEmit(address(rewards));
        emit IRewards.Refunded(POOL, CREATOR, 50);
        vm.prank(CREATOR);
        _equal(rewards.refund(POOL), 50);
        _budget(100, 30, 20, 50);
        _equal(token.balanceOf(CREATOR), 950);
        _fails(CREATOR, address(rewards), call_, _error(IRewards.NothingToClaim.selector));

        rewards.release(POOL, 10);
        vm.prank(CREATOR);
        _equal(rewards.refund(POOL), 10);
        _budget(100, 20, 20, 60);
        _equal(token.balanceOf(address(rewards)), 40);
    }

    function test_RevertWhen_AStrangerMovesBudgets() public {
        _fund(100);
        rewards.reserve(POOL, 50);
        bytes memory expected = _error(IRewards.OnlyModule.selector);
        _fails(STRANGER, address(rewards), abi.encodeCall(rewards.reserve, (POOL, 1)), expected);
        _fails(COURT, address(rewards), abi.encodeCall(rewards.reserve, (POOL, 1)), expected);
        _fails(STRANGER, address(rewards), abi.encodeCall(rewards.release, (POOL, 1)), expected);
        _fails(STRANGER, address(rewards), abi.encodeCall(rewards.credit, (POOL, OP, 1)), expected);
    }
}
