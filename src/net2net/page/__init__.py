"""One self-contained page that shows what can grow, or what grew.

``html`` puts pages together: elements, escaped, and the style, light and dark. ``modules`` is the
model as a picture of its modules, coloured by space; ``bars`` are sizes before and after; ``pages``
are the two pages: ``spaces_page`` and ``growth_page``. No script, nothing fetched; every text that
shows on hovering is reached by keyboard and read aloud as well.
"""

from net2net.page.pages import growth_page, spaces_page

__all__ = ["growth_page", "spaces_page"]
