#include "bench/hitrate/plot.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace reprise::bench {
namespace {

// Pixels.
constexpr double kPanelWidth = 420, kPanelHeight = 300, kLeft = 48, kTop = 34, kBottom = 44;
constexpr double kPanelStep = kPanelWidth + kLeft + 20;
constexpr double kLegendWidth = 120, kLegendLine = 18;
constexpr const char* kColours[] = {"#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd",
                                    "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#7f7f7f",
                                    "#aec7e8", "#ff9896", "#98df8a", "#ffbb78"};

std::string ColourOf(size_t line) { return kColours[line % std::size(kColours)]; }

std::string Escaped(const std::string& text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
}

std::string Text(double x, double y, const std::string& anchor, const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor,
                         Escaped(text));
}

std::string Line(double x1, double y1, double x2, double y2, const std::string& style) {
  return absl::StrFormat("<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" style=\"%s\"/>\n",
                         x1, y1, x2, y2, style);
}

constexpr char kOptimumStyle[] = "stroke:#000;stroke-width:2;stroke-dasharray:6 3;fill:none";
constexpr char kInfiniteStyle[] = "stroke:#000;stroke-width:1;stroke-dasharray:2 3;fill:none";
constexpr char kGridStyle[] = "stroke:#ddd";

std::string StyleOf(size_t line) {
  return absl::StrCat("stroke:", ColourOf(line), ";stroke-width:1.6;fill:none");
}

// The panel of one trace, whose plotted area begins at (left, kTop).
class Panel {
 public:
  Panel(const Sweep& sweep, Figure figure, double left)
      : sweep_(sweep),
        figure_(figure),
        left_(left),
        least_(std::log(sweep.percents.front())),
        most_(std::log(sweep.percents.back())),
        // The next 10 % above what an infinite cache has.
        top_(std::max(0.1, std::ceil(sweep.infinite.ratio(figure) * 10 - 1e-9) / 10)) {}

  std::string Draw() const {
    std::string out = Grid();
    const double level = Y(sweep_.infinite.ratio(figure_));
    out += Line(left_, level, left_ + kPanelWidth, level, kInfiniteStyle);
    for (size_t i = 0; i < sweep_.lines.size(); ++i) {
      out += Curve(StyleOf(i),
                   [&](size_t c) { return sweep_.lines[i].cells[c].tally.ratio(figure_); });
    }
    out += Curve(kOptimumStyle, [&](size_t c) { return sweep_.optimum[c].ratio(figure_); });
    return out;
  }

 private:
  double X(double percent) const {
    if (most_ == least_) return left_ + kPanelWidth / 2;
    return left_ + kPanelWidth * (std::log(percent) - least_) / (most_ - least_);
  }
  double Y(double ratio) const { return kTop + kPanelHeight * (1 - ratio / top_); }

  std::string Grid() const {
    std::string out = Text(left_ + kPanelWidth / 2, kTop - 14, "middle", sweep_.trace);
    const double bottom = kTop + kPanelHeight;
    for (int tenth = 0; tenth <= std::lround(top_ * 10); ++tenth) {
      const double y = Y(tenth / 10.0);
      out += Line(left_, y, left_ + kPanelWidth, y, kGridStyle);
      out += Text(left_ - 6, y + 4, "end", absl::StrCat(tenth * 10, "%"));
    }
    for (const double percent : sweep_.percents) {
      out += Line(X(percent), kTop, X(percent), bottom, kGridStyle);
      out += Text(X(percent), bottom + 16, "middle", absl::StrFormat("%g", percent));
    }
    return out + Text(left_ + kPanelWidth / 2, bottom + 34, "middle",
                      "capacity, % of the trace's different blocks");
  }

  std::string Curve(const std::string& style, const std::function<double(size_t)>& ratio) const {
    std::string points;
    for (size_t c = 0; c < sweep_.percents.size(); ++c) {
      absl::StrAppendFormat(&points, "%.1f,%.1f ", X(sweep_.percents[c]), Y(ratio(c)));
    }
    return absl::StrCat("<polyline style=\"", style, "\" points=\"", points, "\"/>\n");
  }

  const Sweep& sweep_;
  const Figure figure_;
  const double left_;
  const double least_, most_;  // logarithms of capacities
  const double top_;           // ratio
};

std::string Legend(const Sweep& sweep, double left) {
  std::string out;
  double y = kTop + 8;
  const auto add = [&](const std::string& name, const std::string& style) {
    out += Line(left, y, left + 24, y, style) + Text(left + 30, y + 4, "start", name);
    y += kLegendLine;
  };
  add("infinite", kInfiniteStyle);
  add("optimum", kOptimumStyle);
  for (size_t i = 0; i < sweep.lines.size(); ++i) add(sweep.lines[i].policy, StyleOf(i));
  return out;
}

}  // namespace

std::string PlotSvg(const std::vector<Sweep>& sweeps, Figure figure) {
  const double legend = kPanelStep * static_cast<double>(sweeps.size()) + 10;
  const size_t num_lines = sweeps.empty() ? 0 : sweeps.front().lines.size() + 2;
  const double height =
      std::max(kTop + kPanelHeight + kBottom,
               kTop + 2 * kLegendLine + kLegendLine * static_cast<double>(num_lines));
  std::string out = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
      "font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
      legend + kLegendWidth, height);
  for (size_t i = 0; i < sweeps.size(); ++i) {
    out += Panel(sweeps[i], figure, kPanelStep * static_cast<double>(i) + kLeft).Draw();
  }
  if (!sweeps.empty()) out += Legend(sweeps.front(), legend);
  return out + "</svg>\n";
}

}  // namespace reprise::bench
