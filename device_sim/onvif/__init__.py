"""The ONVIF service of a simulated camera, written from the specifications (Core 23.12, Media 21.12, SOAP 1.2).

It says what it is asked of by whoever wants to know where the stream is, and nothing else; like real ones it tells its
time to everybody and the rest to those whose password digest is right (WS-Security, UsernameToken Profile 1.0).
"""
