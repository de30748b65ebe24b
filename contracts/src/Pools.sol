// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {CourtTerms, IPools, Invite, NewPool, OuterRule, PoolParams} from "./interfaces/IPools.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {IRoundLedger} from "./interfaces/IRoundLedger.sol";
import {IStakeManager} from "./interfaces/IStakeManager.sol";
import {Hashes} from "./libraries/Hashes.sol";
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
    /// First round that a plant may be in, plus one.
    mapping(uint256 poolId => mapping(bytes32 hash => uint256)) private _plants;
    mapping(uint256 poolId => mapping(uint256 round => mapping(address node => bool))) public isPlanted;

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
        _requireOpen();
        pool.params.validate(stakeManager.unbondingTime());
        pool.outer.validate(pool.params.maxSlots);
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
        requireEntry(node, msg.sender);
        address signer = _pool(poolId).inviteSigner;
        if (signer != address(0)) _useInvite(poolId, signer, invite);
        ledger.join(poolId, node, msg.sender, width);
    }

    /// @inheritdoc IPools
    function plant(uint256 poolId, bytes32[] calldata hashes) external {
        _pool(poolId);
        IRoundLedger.Pool memory p = ledger.pool(poolId);
        require(msg.sender == p.creator, OnlyCreator(p.creator));
        for (uint256 i; i < hashes.length; ++i) {
            if (_plants[poolId][hashes[i]] == 0) _plants[poolId][hashes[i]] = p.nextRound + 1;
        }
        emit Planted(poolId, p.nextRound, hashes);
    }

    /// @inheritdoc IPools
    function openPlant(uint256 poolId, uint256 round, address node, bytes32 salt) external {
        uint256 from = _plants[poolId][Hashes.plant(address(this), poolId, round, node, salt)];
        // INVARIANT: nobody can say of a slot that is bad already that it was bad on purpose.
        require(from != 0 && round >= from - 1, NotPlanted());
        isPlanted[poolId][round][node] = true;
        emit PlantOpened(poolId, round, node);
    }

    /// @inheritdoc IPools
    function requireEntry(address node, address operator) public view {
        _requireOpen();
        registry.requireOperator(node, operator);
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

    function _requireOpen() private view {
        require(!entryPaused, EntryPaused());
    }

    function _pool(uint256 poolId) private view returns (Rules storage r) {
        require(poolId != 0 && poolId <= poolCount, UnknownPool(poolId));
        r = _rules[poolId];
    }
}
