"""Runs Autobahn's wstest (Python 2.7) from a folder that pip has filled: wstest.py FOLDER OPTION..."""
import site
import sys

# Not by PYTHONPATH: a namespace package of zope's wants its .pth file read.
site.addsitedir(sys.argv.pop(1))

from autobahntestsuite.wstest import run

run()
