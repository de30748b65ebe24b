// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {INodeRegistry} from "./interfaces/INodeRegistry.sol";

/// @title Which operator answers for which node key.
/// @dev A binding happens once and is never undone, so a signature needs no nonce: its second use finds the node taken.
contract NodeRegistry is INodeRegistry, EIP712 {
    bytes32 public constant NODE_AUTHORIZATION_TYPEHASH =
        keccak256("NodeAuthorization(address operator,address node,uint256 deadline)");

    mapping(address node => address operator) private _operatorOf;
    mapping(address node => bool) public isRevoked;

    constructor() EIP712("pi-protocol", "1") {}

    /// @inheritdoc INodeRegistry
    function registerNode(address node, uint256 deadline, bytes calldata signature) external {
        address operator = _operatorOf[node];
        require(operator == address(0), AlreadyRegistered(operator));
        require(block.timestamp <= deadline, SignatureExpired());
        bytes32 digest =
            _hashTypedDataV4(keccak256(abi.encode(NODE_AUTHORIZATION_TYPEHASH, msg.sender, node, deadline)));
        require(SignatureChecker.isValidSignatureNow(node, digest, signature), BadSignature());

        _operatorOf[node] = msg.sender;
        emit NodeRegistered(msg.sender, node);
    }

    /// @inheritdoc INodeRegistry
    function revokeNode(address node) external {
        address operator = _operatorOf[node];
        require(msg.sender == operator, OnlyOperator(operator));
        require(!isRevoked[node], AlreadyRevoked());
        isRevoked[node] = true;
        emit NodeRevoked(operator, node);
    }

    /// @inheritdoc INodeRegistry
    function requireOperator(address node, address caller) external view {
        address operator = _operatorOf[node];
        require(caller == operator, OnlyOperator(operator));
        require(!isRevoked[node], AlreadyRevoked());
    }

    /// @inheritdoc INodeRegistry
    function operatorOf(address node) external view returns (address) {
        return _operatorOf[node];
    }
}
