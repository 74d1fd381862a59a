"use strict";
(function () {
  var data = JSON.parse(document.getElementById("data").textContent);
  var count = data.starts.length, current = 0, byId = {};
  data.charts.forEach(function (chart) { byId[chart.id] = chart; });
  var plots = Array.prototype.slice.call(document.querySelectorAll(".plot"));

  function centre(bin) {
    return (data.edges[bin] + data.edges[bin + 1]) / 2 / data.edges[count];
  }
  function hide() {
    plots.forEach(function (plot) {
      plot.querySelector(".cursor").style.display = "none";
      plot.querySelector(".tip").style.display = "none";
    });
  }
  function show(plot, bin) {
    current = Math.max(0, Math.min(count - 1, bin));
    plots.forEach(function (other) {
      var cursor = other.querySelector(".cursor");
      cursor.style.display = "block";
      cursor.style.left = 100 * centre(current) + "%";
      other.querySelector(".tip").style.display = "none";
    });
    var chart = byId[plot.dataset.chart], tip = plot.querySelector(".tip");
    var first = data.starts[current], last = data.ends[current];
    var values = chart.series.map(function (line) {
      var value = line.values[current];
      return line.name + " " + (value === null ? "–" : value);
    });
    tip.textContent = (first === last ? "frame " + first : "frames " + first + "–" + last) +
      " (" + (data.edges[current] / data.fps).toFixed(2) + " s): " + values.join(", ") + " " + chart.unit;
    tip.style.display = "block";
    var room = plot.clientWidth - tip.offsetWidth;
    tip.style.left = Math.min(Math.max(0, centre(current) * plot.clientWidth - tip.offsetWidth / 2), Math.max(room, 0)) + "px";
  }
  plots.forEach(function (plot) {
    plot.addEventListener("pointermove", function (event) {
      var box = plot.getBoundingClientRect(), frame = (event.clientX - box.left) / box.width * data.edges[count], bin = 0;
      while (bin < count - 1 && data.edges[bin + 1] <= frame) bin++;
      show(plot, bin);
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("focus", function () { show(plot, current); });
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", function (event) {
      var step = { ArrowLeft: -1, ArrowRight: 1, PageDown: 10, PageUp: -10, Home: -count, End: count }[event.key];
      if (!step) return;
      event.preventDefault();
      show(plot, current + step);
    });
  });

  document.querySelectorAll("table").forEach(function (table) {
    var heads = Array.prototype.slice.call(table.querySelectorAll("thead th")), body = table.tBodies[0];
    var original = Array.prototype.slice.call(body.rows);
    heads.forEach(function (head, column) {
      head.firstChild.addEventListener("click", function () {
        var down = head.getAttribute("aria-sort") !== "descending";
        heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
        var rows = original.slice();
        if (column) {
          head.setAttribute("aria-sort", down ? "descending" : "ascending");
          rows.sort(function (a, b) { return (a.cells[column].dataset.v - b.cells[column].dataset.v) * (down ? -1 : 1); });
        }
        rows.forEach(function (row) { body.appendChild(row); });
      });
    });
  });

  // Whoever is chosen is unfolded, the others folded.
  var people = Array.prototype.slice.call(document.querySelectorAll("details.one"));
  document.querySelectorAll(".people a").forEach(function (link) {
    link.addEventListener("click", function () {
      people.forEach(function (one) { one.open = "#" + one.id === link.getAttribute("href"); });
    });
  });

  document.querySelectorAll(".choose").forEach(function (choice) {
    choice.addEventListener("change", function () {
      choice.closest(".heat-maps").querySelectorAll(".of-view").forEach(function (part, place) { part.hidden = place !== choice.selectedIndex; });
    });
  });

  document.querySelectorAll(".cards img").forEach(function (image) {
    image.tabIndex = 0;
    image.setAttribute("role", "button");
    function open() {
      var dialog = document.createElement("dialog"), large = document.createElement("img");
      large.src = image.src;
      large.alt = image.alt;
      dialog.appendChild(large);
      dialog.addEventListener("click", function () { dialog.close(); });
      dialog.addEventListener("close", function () { dialog.remove(); image.focus(); });
      document.body.appendChild(dialog);
      dialog.showModal();
    }
    image.addEventListener("click", open);
    image.addEventListener("keydown", function (event) { if (event.key === "Enter") open(); });
  });
})();
