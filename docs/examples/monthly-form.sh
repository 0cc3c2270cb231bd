#!/usr/bin/env bash
# 月进度报送:取表、填写、检查、报送、打印回执。可放心重复执行。用法:monthly-form.sh 单位 报送期
set -euo pipefail
unit=$1 period=$2 form=$(mktemp -d)/form.json

liuzhang form get "$period" --unit "$unit" -o "$form"
liuzhang form fill "$form" 431228-2023-6-3-4 --stage in_progress --percent 40 --progress "3所幼儿园主体封顶"
liuzhang form put "$form" --dry-run
liuzhang form put "$form"
liuzhang receipt --unit "$unit" --period "$period"
