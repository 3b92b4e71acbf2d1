"""Text into hosts: hosts files, ranges, groups, selections, and names folded back.

Everything here is pure but ``load``, which reads the files.
"""

from multirsh.inventory.fold import fold, natural_key
from multirsh.inventory.groups import Group
from multirsh.inventory.inventory import Inventory
from multirsh.inventory.load import load
from multirsh.inventory.ranges import expand

__all__ = ["Group", "Inventory", "expand", "fold", "load", "natural_key"]
