"""The command line: parses, calls `raylike`, prints.

Each command is a module of `cli/commands`. What a command needs it imports when it runs, so that
`raylike --help` waits for nothing.
"""
