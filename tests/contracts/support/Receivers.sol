// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice Refuses every payment.
contract Refuser {}

/// @notice Answers a payment with a call of its own, and keeps what came of it.
contract Reenterer {
    address private target;
    bytes private call;
    bool public tried;
    bool public succeeded;

    function prepare(address target_, bytes calldata call_) external {
        (target, call) = (target_, call_);
    }

    /// @notice Does a call as this account.
    function execute(address to, uint256 value, bytes calldata data) external payable returns (bytes memory) {
        (bool success, bytes memory returned) = to.call{value: value}(data);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(returned, 0x20), mload(returned))
            }
        }
        return returned;
    }

    receive() external payable {
        tried = true;
        (succeeded,) = target.call(call);
    }
}
