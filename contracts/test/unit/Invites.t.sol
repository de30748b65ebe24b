// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Pools} from "../../src/Pools.sol";
import {INodeRegistry} from "../../src/interfaces/INodeRegistry.sol";
import {IPools, Invite, NewPool} from "../../src/interfaces/IPools.sol";
import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {Base} from "../Base.sol";
import {Wallet} from "../mocks/Wallet.sol";

/// @title Pools that only an invited operator can enter.
contract InvitesTest is Base {
    uint256 internal constant SIGNER_KEY = 0x516;

    uint256 internal pool;
    address internal signer = vm.addr(SIGNER_KEY);
    Party internal a = party(1);
    Party internal b = party(2);

    function setUp() public override {
        super.setUp();
        pool = _createPool(signer);
        _prepare(a);
        _prepare(b);
    }

    function _createPool(address inviteSigner) private returns (uint256 poolId) {
        NewPool memory p = newPool(defaultParams());
        p.inviteSigner = inviteSigner;
        vm.prank(CREATOR);
        poolId = pools.createPool(p);
    }

    function _prepare(Party memory p) private {
        register(p);
        stake(p.operator, 1000 ether);
    }

    /// @dev Everything that an invite is bound to.
    function _sign(uint256 key, address pools_, uint256 poolId, address operator, uint256 nonce, uint256 deadline)
        private
        view
        returns (Invite memory)
    {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("pi-protocol"),
                keccak256("1"),
                block.chainid,
                pools_
            )
        );
        bytes32 inner = keccak256(
            abi.encode(
                keccak256("Invite(uint256 poolId,address operator,uint256 nonce,uint64 deadline)"),
                poolId,
                operator,
                nonce,
                deadline
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, keccak256(abi.encodePacked(hex"1901", domain, inner)));
        return Invite({nonce: nonce, deadline: uint64(deadline), signature: abi.encodePacked(r, s, v)});
    }

    function _invite(Party memory p, uint256 nonce) private view returns (Invite memory) {
        return _sign(SIGNER_KEY, address(pools), pool, p.operator, nonce, now_() + 10);
    }

    function _join(Party memory p, Invite memory invite) private {
        vm.prank(p.operator);
        pools.join(pool, p.node, 1, invite);
    }

    function _joinFails(Party memory p, Invite memory invite, bytes memory expected) private {
        fails(p.operator, address(pools), abi.encodeCall(pools.join, (pool, p.node, 1, invite)), expected);
    }

    function _bad() private pure returns (bytes memory) {
        return err(IPools.BadInvite.selector);
    }

    // ---------------------------------------------------------------------------------------------- good ones

    function test_InvitedOperatorJoins() public {
        assertEq(pools.inviteSigner(pool), signer);
        Invite memory invite = _invite(a, 7);
        vm.expectEmit(address(pools));
        emit IPools.InviteAccepted(pool, a.operator, 7);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Joined(pool, a.node, a.operator, 1, 0);
        vm.prank(a.operator);
        pools.join(pool, a.node, 1, invite);
        assertEq(pools.isInviteUsed(pool, 7), true);
        assertEq(ledger.member(pool, a.node).operator, a.operator);
    }

    function test_TheDeadlineItselfIsInTime() public {
        Invite memory invite = _invite(a, 0);
        pass(10);
        _join(a, invite);
        invite = _invite(b, 1);
        pass(11);
        _joinFails(b, invite, err(IPools.InviteExpired.selector));
    }

    function test_ContractWalletInvites() public {
        pool = _createPool(address(new Wallet(signer)));
        _join(a, _invite(a, 0));
        Invite memory forged = _sign(0xBAD, address(pools), pool, b.operator, 1, now_() + 10);
        _joinFails(b, forged, _bad());
    }

    /// An invite admits an operator: which of its nodes comes is its own business. A second node takes a second invite.
    function test_AnInviteIsForOneEntry() public {
        Invite memory invite = _invite(a, 3);
        _join(a, invite);
        Party memory second = party(9);
        second.operator = a.operator;
        register(second);
        _joinFails(second, invite, abi.encodeWithSelector(IPools.InviteUsed.selector, 3));
        _join(second, _invite(a, 4));
        assertEq(ledger.pool(pool).members, 2);
    }

    function test_WhoLeftNeedsAnotherInvite() public {
        Invite memory invite = _invite(a, 3);
        _join(a, invite);
        vm.prank(a.operator);
        ledger.leave(pool, a.node);
        _joinFails(a, invite, abi.encodeWithSelector(IPools.InviteUsed.selector, 3));
        _join(a, _invite(a, 5));
    }

    // ---------------------------------------------------------------------------------------------- bad ones

    function test_RevertWhen_TheNonceWasUsedByAnotherOperator() public {
        _join(a, _invite(a, 3));
        _joinFails(b, _invite(b, 3), abi.encodeWithSelector(IPools.InviteUsed.selector, 3));
    }

    function test_RevertWhen_MadeForAnotherOperator() public {
        _joinFails(b, _invite(a, 0), _bad());
    }

    function test_RevertWhen_MadeForAnotherPool() public {
        uint256 other = _createPool(signer);
        _joinFails(a, _sign(SIGNER_KEY, address(pools), other, a.operator, 0, now_() + 10), _bad());
    }

    function test_RevertWhen_MadeForAnotherChain() public {
        Invite memory invite = _invite(a, 0);
        vm.chainId(8453);
        _joinFails(a, invite, _bad());
    }

    function test_RevertWhen_MadeForAnotherContract() public {
        Pools twin = Pools(deploy("Pools", abi.encode(registry, stakes, ledger, GUARDIAN)));
        _joinFails(a, _sign(SIGNER_KEY, address(twin), pool, a.operator, 0, now_() + 10), _bad());
    }

    function test_RevertWhen_NonceOrDeadlineWasChanged() public {
        Invite memory invite = _invite(a, 0);
        invite.nonce = 1;
        _joinFails(a, invite, _bad());
        invite.nonce = 0;
        invite.deadline += 1;
        _joinFails(a, invite, _bad());
    }

    function test_RevertWhen_SomebodyElseSigned() public {
        _joinFails(a, _sign(0xBAD, address(pools), pool, a.operator, 0, now_() + 10), _bad());
        _joinFails(a, Invite({nonce: 0, deadline: uint64(now_()), signature: ""}), _bad());
        _joinFails(a, open_(), err(IPools.InviteExpired.selector)); // as for an open pool
    }

    /// An invite is the pool's permission, not the node's: the caller still answers for the node.
    function test_RevertWhen_TheNodeIsNotTheCallers() public {
        Invite memory invite = _invite(b, 0);
        fails(
            b.operator,
            address(pools),
            abi.encodeCall(pools.join, (pool, a.node, 1, invite)),
            abi.encodeWithSelector(INodeRegistry.OnlyOperator.selector, a.operator)
        );
    }

    /// A join that fails in the ledger does not use its invite up.
    function test_AFailedJoinKeepsTheInvite() public {
        Invite memory invite = _invite(a, 0);
        fails(
            a.operator,
            address(pools),
            abi.encodeCall(pools.join, (pool, a.node, 5, invite)),
            abi.encodeWithSelector(IRoundLedger.BadWidth.selector, 5)
        );
        assertEq(pools.isInviteUsed(pool, 0), false);
        _join(a, invite);
    }
}
