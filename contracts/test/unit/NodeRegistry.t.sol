// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {INodeRegistry} from "../../src/interfaces/INodeRegistry.sol";
import {Base} from "../Base.sol";
import {Wallet} from "../mocks/Wallet.sol";

contract NodeRegistryTest is Base {
    function _register(address node, uint256 deadline, bytes memory signature) private view returns (bytes memory) {
        return abi.encodeCall(registry.registerNode, (node, deadline, signature));
    }

    function test_BindsNodeToOperator() public {
        Party memory p = party(1);
        bytes memory signature = authorization(p, now_());
        vm.expectEmit(address(registry));
        emit INodeRegistry.NodeRegistered(p.operator, p.node);
        vm.prank(p.operator);
        registry.registerNode(p.node, now_(), signature);
        assertEq(registry.operatorOf(p.node), p.operator);
    }

    function test_OneOperatorHasManyNodes() public {
        Party memory a = party(1);
        Party memory b = party(2);
        b.operator = a.operator;
        register(a);
        register(b);
        assertEq(registry.operatorOf(a.node), a.operator);
        assertEq(registry.operatorOf(b.node), a.operator);
    }

    /// A node "key" may be a contract that says by EIP-1271 which signatures are its own.
    function test_ContractWalletIsANode() public {
        Party memory p = party(1);
        Wallet wallet = new Wallet(p.node);
        p.node = address(wallet);
        register(p);
        assertEq(registry.operatorOf(address(wallet)), p.operator);
        Party memory q = party(2);
        q.node = address(new Wallet(STRANGER));
        fails(
            q.operator,
            address(registry),
            _register(q.node, now_(), authorization(q, now_())),
            err(INodeRegistry.BadSignature.selector)
        );
    }

    function test_RevertWhen_NodeIsTaken() public {
        Party memory p = party(1);
        register(p);
        p.operator = STRANGER;
        fails(
            STRANGER,
            address(registry),
            _register(p.node, now_(), authorization(p, now_())),
            abi.encodeWithSelector(INodeRegistry.AlreadyRegistered.selector, party(1).operator)
        );
    }

    /// A signature for one operator, taken from the mempool, is worth nothing to another.
    function test_RevertWhen_AnotherOperatorSendsTheSignature() public {
        Party memory p = party(1);
        fails(
            STRANGER,
            address(registry),
            _register(p.node, now_(), authorization(p, now_())),
            err(INodeRegistry.BadSignature.selector)
        );
    }

    function test_RevertWhen_SignatureIsNonsense() public {
        fails(
            STRANGER,
            address(registry),
            _register(party(1).node, now_(), hex"1234"),
            err(INodeRegistry.BadSignature.selector)
        );
        fails(STRANGER, address(registry), _register(address(0), now_(), ""), err(INodeRegistry.BadSignature.selector));
    }

    function test_RevertWhen_MadeForAnotherChainNodeOrDeadline() public {
        Party memory p = party(1);
        bytes memory bad = err(INodeRegistry.BadSignature.selector);
        bytes memory signature = authorization(p, now_());
        fails(p.operator, address(registry), _register(party(2).node, now_(), signature), bad);
        fails(p.operator, address(registry), _register(p.node, now_() + 1, signature), bad);
        vm.chainId(8453);
        fails(p.operator, address(registry), _register(p.node, now_(), signature), bad);
    }

    function test_RevertWhen_DeadlineHasPassed() public {
        Party memory p = party(1);
        fails(
            p.operator,
            address(registry),
            _register(p.node, now_() - 1, authorization(p, now_() - 1)),
            err(INodeRegistry.SignatureExpired.selector)
        );
    }

    // ---------------------------------------------------------------------------------------------- revoke

    function test_RevokedKeyMayEnterNothingAndStaysBound() public {
        Party memory p = party(1);
        register(p);
        registry.requireOperator(p.node, p.operator);
        vm.expectEmit(address(registry));
        emit INodeRegistry.NodeRevoked(p.operator, p.node);
        vm.prank(p.operator);
        registry.revokeNode(p.node);
        assertEq(registry.isRevoked(p.node), true);
        assertEq(registry.operatorOf(p.node), p.operator);

        bytes memory revoked = err(INodeRegistry.AlreadyRevoked.selector);
        fails(STRANGER, address(registry), abi.encodeCall(registry.requireOperator, (p.node, p.operator)), revoked);
        fails(p.operator, address(registry), abi.encodeCall(registry.revokeNode, (p.node)), revoked);
        uint256 pool = createPool(defaultParams(), 1);
        stake(p.operator, 200 ether);
        fails(p.operator, address(pools), abi.encodeCall(pools.join, (pool, p.node, 1, open_())), revoked);
        fails(p.operator, address(court), abi.encodeCall(court.takeSeat, (pool, p.node)), revoked);
        fails(
            p.operator,
            address(registry),
            _register(p.node, now_(), authorization(p, now_())),
            abi.encodeWithSelector(INodeRegistry.AlreadyRegistered.selector, p.operator)
        );
    }

    /// A leaked key is taken out by its operator, who also may bring a new one.
    function test_RevokedKeyIsReplaced() public {
        Party memory p = party(1);
        uint256 pool = createPool(defaultParams(), 1);
        join(pool, p, 1);
        vm.startPrank(p.operator);
        registry.revokeNode(p.node);
        ledger.leave(pool, p.node);
        ledger.releaseLock(pool, p.node);
        vm.stopPrank();
        Party memory q = party(2);
        q.operator = p.operator;
        register(q);
        vm.prank(p.operator);
        pools.join(pool, q.node, 1, open_());
        assertEq(ledger.pool(pool).members, 1);
    }

    function test_RevertWhen_CallerIsNotTheOperator() public {
        Party memory p = party(1);
        register(p);
        bytes memory only = abi.encodeWithSelector(INodeRegistry.OnlyOperator.selector, p.operator);
        fails(STRANGER, address(registry), abi.encodeCall(registry.revokeNode, (p.node)), only);
        fails(p.node, address(registry), abi.encodeCall(registry.revokeNode, (p.node)), only);
        fails(STRANGER, address(registry), abi.encodeCall(registry.requireOperator, (p.node, STRANGER)), only);
        address unknown = party(9).node;
        only = abi.encodeWithSelector(INodeRegistry.OnlyOperator.selector, address(0));
        fails(STRANGER, address(registry), abi.encodeCall(registry.revokeNode, (unknown)), only);
        fails(STRANGER, address(registry), abi.encodeCall(registry.requireOperator, (unknown, STRANGER)), only);
    }
}
