"""The money side of the protocol once more: what the contracts must do, said without storage or gas.

`money` has the stakes and budgets, `rounds` membership and rounds, `court` seats, verdicts and cases, `world`
a chain with all of them; `moves` is what anybody can do there and how it is written to a file; `chance`
invents traces; `state` is what is compared at their end.
"""
