"""Differentially private noise, by a kept library (OpenDP, extra ``dp``), in a process of its own for each telling.

message   what is asked and answered
client    Noise asked for; the library is never loaded by the agent
__main__  the process: the library, one question, one answer
"""
