// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {INodeRegistry} from "../../src/interfaces/INodeRegistry.sol";
import {Base} from "../Base.sol";

contract NodeRegistryTest is Base {
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
        assertEq(registry.operatorOf(b.node), a.operator);
    }

    function test_RevertWhen_NodeIsTaken() public {
        Party memory p = party(1);
        register(p);
        p.operator = STRANGER;
        fails(
            STRANGER,
            address(registry),
            abi.encodeCall(INodeRegistry.registerNode, (p.node, now_(), authorization(p, now_()))),
            abi.encodeWithSelector(INodeRegistry.AlreadyRegistered.selector, party(1).operator)
        );
    }

    /// A signature for one operator, taken from the mempool, is worth nothing to another.
    function test_RevertWhen_AnotherOperatorSendsTheSignature() public {
        Party memory p = party(1);
        fails(
            STRANGER,
            address(registry),
            abi.encodeCall(INodeRegistry.registerNode, (p.node, now_(), authorization(p, now_()))),
            err(INodeRegistry.BadSignature.selector)
        );
    }

    function test_RevertWhen_SignatureIsNonsense() public {
        fails(
            STRANGER,
            address(registry),
            abi.encodeCall(INodeRegistry.registerNode, (party(1).node, now_(), hex"1234")),
            err(INodeRegistry.BadSignature.selector)
        );
    }

    function test_RevertWhen_MadeForAnotherChain() public {
        Party memory p = party(1);
        bytes memory signature = authorization(p, now_());
        vm.chainId(8453);
        fails(
            p.operator,
            address(registry),
            abi.encodeCall(INodeRegistry.registerNode, (p.node, now_(), signature)),
            err(INodeRegistry.BadSignature.selector)
        );
    }

    function test_RevertWhen_DeadlineHasPassed() public {
        Party memory p = party(1);
        fails(
            p.operator,
            address(registry),
            abi.encodeCall(INodeRegistry.registerNode, (p.node, now_() - 1, authorization(p, now_() - 1))),
            err(INodeRegistry.SignatureExpired.selector)
        );
    }
}
