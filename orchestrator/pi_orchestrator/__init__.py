"""The round scheduler: moves the rounds of its pools on in time, aggregates their updates, serves their
files.
"""
