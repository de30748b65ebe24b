"""The agent behind `pi-validator`: takes a seat in a pool, audits the slots that it is drawn for, sits on
juries.
"""
