// The status line: what one request cost, in words.

const number = new Intl.NumberFormat("en-US");

const REASONS = {
  line: "end of line",
  block: "end of block",
  eot: "end of text",
  suffix: "met the text after the caret",
  budget: "length limit",
};

export function describe(report) {
  const { state } = report;
  if (state === "idle") return "Ready";
  if (state === "off") return "Suggestions are off";
  if (state === "thinking") return "Thinking";
  if (state === "failed") return report.message;
  if (state === "nothing") return "No other suggestion";
  if (state === "choosing") return "Alt+] and Alt+[ go through the alternatives";
  const figures = [];
  if (report.first_ms != null) figures.push(`first byte ${Math.round(report.first_ms)} ms`);
  else if (state === "done") figures.push("nothing to suggest");
  if (report.bytes_per_s) figures.push(`${number.format(Math.round(report.bytes_per_s))} bytes/s`);
  if (report.cached_bytes != null) figures.push(`${number.format(report.cached_bytes)} bytes cached`);
  if (state === "again") figures.push("remembered");
  else if (report.stop_reason) figures.push(REASONS[report.stop_reason] ?? report.stop_reason);
  return figures.join("  \u00b7  ");
}
