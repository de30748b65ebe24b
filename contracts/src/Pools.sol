// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {CourtTerms, IPools, Invite, NewPool, OuterRule, PoolParams} from "./interfaces/IPools.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {IRoundLedger} from "./interfaces/IRoundLedger.sol";
import {IStakeManager} from "./interfaces/IStakeManager.sol";
import {ParamsLib} from "./libraries/ParamsLib.sol";

/// @title Rules of the pools, and their doors.
/// @dev What never changes about a pool; what moves stands in the round ledger.
contract Pools is IPools, EIP712 {
    using ParamsLib for PoolParams;
    using ParamsLib for OuterRule;

    struct Rules {
        PoolParams params;
        OuterRule outer;
        address inviteSigner;
        bytes32 runSpecHash;
        string storeURI;
        string requirementsURI;
    }

    bytes32 public constant INVITE_TYPEHASH =
        keccak256("Invite(uint256 poolId,address operator,uint256 nonce,uint64 deadline)");

    INodeRegistry public immutable registry;
    IStakeManager public immutable stakeManager;
    IRoundLedger public immutable ledger;
    address public immutable guardian;

    uint256 public poolCount;
    bool public entryPaused;
    mapping(uint256 poolId => Rules) private _rules;
    mapping(uint256 poolId => mapping(uint256 nonce => bool)) public isInviteUsed;

    constructor(INodeRegistry registry_, IStakeManager stakeManager_, IRoundLedger ledger_, address guardian_)
        EIP712("pi-protocol", "1")
    {
        registry = registry_;
        require(stakeManager_.unbondingTime() >= ParamsLib.LEAST_WINDOWS, BadParams("unbondingTime"));
        stakeManager = stakeManager_;
        ledger = ledger_;
        guardian = guardian_;
    }

    /// @inheritdoc IPools
    function createPool(NewPool calldata pool) external returns (uint256 poolId) {
        requireEntry();
        pool.params.validate(stakeManager.unbondingTime());
        pool.outer.validate();
        require(pool.runSpecHash != 0, BadParams("runSpecHash"));
        require(pool.genesisRoot != 0, BadParams("genesisRoot"));

        poolId = ++poolCount;
        Rules storage r = _rules[poolId];
        r.params = pool.params;
        r.outer = pool.outer;
        r.inviteSigner = pool.inviteSigner;
        r.runSpecHash = pool.runSpecHash;
        r.storeURI = pool.storeURI;
        r.requirementsURI = pool.requirementsURI;
        emit PoolCreated({
            poolId: poolId,
            creator: msg.sender,
            runSpecHash: pool.runSpecHash,
            genesisRoot: pool.genesisRoot,
            storeURI: pool.storeURI,
            requirementsURI: pool.requirementsURI
        });
        ledger.addPool(poolId, msg.sender, pool.genesisRoot, pool.params.roundTerms());
    }

    /// @inheritdoc IPools
    function setEntryPaused(bool paused) external {
        require(msg.sender == guardian, OnlyGuardian());
        entryPaused = paused;
        emit EntryPauseSet(paused);
    }

    /// @inheritdoc IPools
    function join(uint256 poolId, address node, uint16 width, Invite calldata invite) external {
        requireEntry();
        registry.requireOperator(node, msg.sender);
        address signer = _pool(poolId).inviteSigner;
        if (signer != address(0)) _useInvite(poolId, signer, invite);
        ledger.join(poolId, node, msg.sender, width);
    }

    /// @inheritdoc IPools
    function requireEntry() public view {
        require(!entryPaused, EntryPaused());
    }

    /// @inheritdoc IPools
    function params(uint256 poolId) external view returns (PoolParams memory) {
        return _pool(poolId).params;
    }

    /// @inheritdoc IPools
    function courtTerms(uint256 poolId) external view returns (CourtTerms memory) {
        return _pool(poolId).params.courtTerms();
    }

    /// @inheritdoc IPools
    function outerRule(uint256 poolId) external view returns (OuterRule memory) {
        return _pool(poolId).outer;
    }

    /// @inheritdoc IPools
    function runSpecHash(uint256 poolId) external view returns (bytes32) {
        return _pool(poolId).runSpecHash;
    }

    /// @inheritdoc IPools
    function uris(uint256 poolId) external view returns (string memory storeURI, string memory requirementsURI) {
        Rules storage r = _pool(poolId);
        return (r.storeURI, r.requirementsURI);
    }

    /// @inheritdoc IPools
    function inviteSigner(uint256 poolId) external view returns (address) {
        return _pool(poolId).inviteSigner;
    }

    /// @dev INVARIANT: an invite works once, for one operator, in this pool of this contract on this chain.
    function _useInvite(uint256 poolId, address signer, Invite calldata invite) private {
        require(block.timestamp <= invite.deadline, InviteExpired());
        require(!isInviteUsed[poolId][invite.nonce], InviteUsed(invite.nonce));
        bytes32 digest =
            _hashTypedDataV4(keccak256(abi.encode(INVITE_TYPEHASH, poolId, msg.sender, invite.nonce, invite.deadline)));
        require(SignatureChecker.isValidSignatureNow(signer, digest, invite.signature), BadInvite());
        isInviteUsed[poolId][invite.nonce] = true;
        emit InviteAccepted(poolId, msg.sender, invite.nonce);
    }

    function _pool(uint256 poolId) private view returns (Rules storage r) {
        require(poolId != 0 && poolId <= poolCount, UnknownPool(poolId));
        r = _rules[poolId];
    }
}
