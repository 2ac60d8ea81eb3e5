document.querySelectorAll("table").forEach(makeSortable);
if (page.scatter) showScatter(document.getElementById("scatter"), page.scatter);
if (page.galleries.length) showGalleries(document.getElementById("galleries"));
