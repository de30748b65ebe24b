// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../interfaces/ICourt.sol";

/// @title The court's most frequent checks.
/// @dev One function for all: each error's encoding is in the bytecode once.
library Checks {
    function phase(bool ok) internal pure {
        require(ok, ICourt.WrongPhase());
    }

    function once(bool ok) internal pure {
        require(ok, ICourt.AlreadyDone());
    }

    function matching(bool ok) internal pure {
        require(ok, ICourt.CommitmentMismatch());
    }
}
