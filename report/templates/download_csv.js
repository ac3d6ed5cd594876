// A table as a CSV file of that name, with all fields in quotes.
function downloadCsv(name, rows) {
  const text = rows.map(row => row.map(field => `"${field.replaceAll('"', '""')}"`).join(",") + "\n").join("");
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
  link.click();
  URL.revokeObjectURL(link.href);
}
