// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Which operator answers for which node key.
/// @notice Two-key registration: the operator (who stakes and is paid) sends the call, the node key (hot, signs work)
/// co-signs by EIP-712. A node key belongs to one operator for ever; an operator has any number of nodes, and replaces a key
/// by registering a new one and revoking the old.
interface INodeRegistry {
    /// Thrown when the node key already belongs to an operator.
    error AlreadyRegistered(address operator);
    /// Thrown when the node key's signature does not recover to the node, or its deadline has passed.
    error BadSignature();
    error SignatureExpired();
    /// Thrown when somebody else than its operator revokes a node key.
    error OnlyOperator(address operator);
    error AlreadyRevoked();

    event NodeRegistered(address indexed operator, address indexed node);
    event NodeRevoked(address indexed operator, address indexed node);

    /// @notice Binds `node` to the caller. `signature` is the node key's over
    /// `NodeAuthorization(address operator,address node,uint256 deadline)` in this contract's EIP-712 domain
    /// (name "pi-protocol", version "1").
    function registerNode(address node, uint256 deadline, bytes calldata signature) external;

    /// @notice The operator gives up a node key, lost or leaked: it can enter no pool and take no seat any more. Where it is
    /// in already, the operator takes it out with `leave` and `leaveSeat`; it stays answerable for its work.
    function revokeNode(address node) external;

    /// @notice The operator of a node key, revoked or not, or zero.
    function operatorOf(address node) external view returns (address);
    /// @notice The operator, where the node key may enter pools; reverts with `OnlyOperator` where `caller` is not it.
    function requireOperator(address node, address caller) external view;
}
